"""Other tools' ways of writing a prompt, told from plain words.

Stable Diffusion reads a prompt as it stands. AUTOMATIC1111's web interface, ComfyUI, NovelAI, InvokeAI,
compel and Midjourney each take marks out of it first; minisd takes out none and says what to do instead.
"""

import re
from itertools import chain

READ = 2000  # characters of a prompt that are looked at; a model reads less
LONGEST = 40  # characters of a prompt that a note repeats
TEXT = r"[^()\[\]{}<>|]"  # what stands between two marks

# What is found, by kind: its patterns, and what to do. {0} in a sentence is the first place found.
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "settings": (
        (r"\bNegative prompt:", r"\bSteps: \d+, Sampler:"),
        (
            "{0} begins settings of AUTOMATIC1111's web interface, which are read as words: "
            "give them as --negative, --steps, --seed and --guidance"
        ),
    ),
    "adapter": (
        (r"<(?:lora|lyco|loha|locon):[^<>]+>",),
        "{0} adds no LoRA, it is read as words: give the file with --lora FILE:SCALE",
    ),
    "hypernetwork": (
        (r"<hypernet:[^<>]+>",),
        "{0} adds nothing, it is read as words: minisd has no hypernetworks, take it out",
    ),
    "embedding": (
        (r"\bembedding:[^\s,()]+", r"<(?:embed|embedding|ti):[^<>]+>"),
        "{0} is read as words: give the file with --embedding FILE and write its learned word alone",
    ),
    "other tag": (
        (r"<(?:wildcard|random|segment|object|region|break|alternate|fromto|preset)(?:\[[^\]]*\])?:[^<>]+>",),
        "{0} is a command of SwarmUI, read as words here: write what it stands for",
    ),
    "weight": (
        (
            rf"\({TEXT}+(?<!\d):\s*[-+]?\d*\.?\d+\s*\)",
            r"(?<=[a-z]):\d\.\d+(?!\w)",
            r"\)(?:\d?\.\d+|\d)(?![\w.])",
            r"\(\(+[^()]*\)\)+",
            r"(?<=[\w)])\+\++(?=[\s,.)]|$)(?<!\bc\+\+)(?<!\bC\+\+)(?<!\bg\+\+)",
            r"\w+--+(?=[,)]|$)",
        ),
        (
            "{0} gives no word a weight: its marks are read as words, so take them out; what stands first "
            "counts most, and --guidance makes all of the prompt count more"
        ),
    ),
    "schedule": (
        (rf"\[{TEXT}*:{TEXT}*:\s*[\d.]+\s*\]", rf"\[{TEXT}*:\s*[\d.]+\s*\]"),
        (
            "{0} changes nothing during the painting, it is read as words: minisd keeps to one prompt, "
            "write that alone"
        ),
    ),
    "alternation": (
        (r"\[[^\[\]|]*\|[^\[\]]*\]",),
        "{0} does not alternate between words, it is read as it stands: choose one of them",
    ),
    "less": (
        (r"\[[^\[\]:|]+\]",),
        (
            "{0} weakens no words, its brackets are read as words: take them out, or give what you don't "
            "want as --negative"
        ),
    ),
    "choice": (
        (r"\{[^{}]*\|[^{}]*\}", r"(?<!\w)__[\w*/-]*\w[\w*/-]*__(?!\w)"),
        (
            "{0} is not replaced by one of its choices, it is read as it stands: choose one, or give each "
            "prompt of its own"
        ),
    ),
    "more": (
        (r"\{[^{}|]+\}",),
        (
            "{0} strengthens no words, its braces are read as words: take them out; what stands first "
            "counts most"
        ),
    ),
    "several prompts": (
        (r"(?:^|[\s,])BREAK(?=[\s,]|$)", r"\sAND\s", r"::\s*-?\d*\.?\d*(?=\s|$)"),
        "{0} joins no prompts, it is read as a word: minisd has one prompt a picture; write one sentence",
    ),
    "compel": (
        (r"""\)\s*\.(?:and|or|swap|blend)\(""", r"""["'\w]\.(?:and|swap|blend)\("""),
        "{0} is a command of compel and InvokeAI, read as words here: write the words that you want",
    ),
    "options": (
        (r"(?:^|\s)--(?:ar|aspect|v|no|q|s|stylize|chaos|seed|niji|style|iw|tile|uplight|w|h)(?=\s|$)",),
        "{0} is an option of Midjourney, read as words here: minisd's own are listed by minisd paint --help",
    ),
    "escape": (
        (r"\\[()\[\]{}]",),
        "{0} is read with its backslash: brackets mean nothing to minisd, so write them alone",
    ),
}


def other_syntax(text: str) -> list[str]:
    """A note for each kind of other tools' syntax in a prompt, in one sentence that says what to do.

    Ordinary brackets, as in "a cat (sitting)", are nobody's syntax. In a text all in capitals AND and BREAK
    are words.
    """
    text, notes = text[:READ], []
    loud = text.upper() == text
    for kind, (patterns, sentence) in KINDS.items():
        if kind == "several prompts" and loud:
            continue
        found = next(chain.from_iterable(re.finditer(pattern, text) for pattern in patterns), None)
        if found:
            place = " ".join(found[0].split())
            place = place if len(place) <= LONGEST else f"{place[: LONGEST - 3]}..."
            notes.append(sentence.format(repr(place)))
    return notes
