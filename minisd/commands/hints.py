"""What a command tells beside its result: what to type next, and words that a model has never read."""

import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from .. import console
from ..notes import note

EXAMPLE = "a big red house left of a yellow tent at sunset"
ANOTHER = "a blue car on the sand by day"
ASTRONAUT = "a photograph of an astronaut riding a horse"  # for models that were trained on photographs


def called() -> str:
    """How the user called this program, so that printed commands can be typed as they stand."""
    typed = sys.argv[0]
    if Path(typed).parts[-2:] == ("minisd", "__main__.py"):
        return f"{sys.orig_argv[0]} -m minisd"
    on_path = shutil.which("minisd")
    if Path(typed).stem != "minisd" or (on_path and Path(on_path) == Path(os.path.realpath(typed))):
        return "minisd"
    return typed


def command_line(*words: str) -> str:
    """A `minisd` command as one types it: prompts and other arguments with spaces in double quotes."""
    plain = re.compile(r"[\w\-.,'()! ]+")
    quoted = (f'"{w}"' if " " in w and plain.fullmatch(w) else shlex.quote(w) for w in words)
    return " ".join([called(), *quoted])


def note_unknown_words(prompts: Sequence[str], learned: Sequence[str]) -> None:
    """Say which words of the prompts a model of the little world never read, and what it can paint.

    learned: words that an embedding brought, which the model has read.
    """
    from ..scenes import unknown_words

    text = " ".join(prompts)
    for word in learned:
        text = re.sub(re.escape(word), "", text, flags=re.IGNORECASE)
    if unknown := unknown_words(text):
        note(
            f"this model has never read {', '.join(map(repr, unknown))}: it paints a little world, "
            "and this is in it:"
        )
        console.tell(world_in_words())


def world_in_words() -> str:
    """What captions of the little world can say, a paragraph for each subject, and an example."""
    from ..scenes import vocabulary

    known = {subject: list(words) for subject, words in vocabulary().items()}
    # Places that begin with "on" have two blanks to fill.
    known["places"] = [place for place in known["places"] if not place.startswith("on ")]
    rows = [paragraph(subject, ", ".join(known[subject])) for subject in known if subject != "frames"]
    return "\n".join([*rows, f"      {'try':<9}{command_line('paint', EXAMPLE)}"])


def paragraph(subject: str, text: str) -> str:
    """A subject and what belongs to it, wrapped to a console's width."""
    return textwrap.fill(
        text,
        88,
        initial_indent=f"      {subject:<9}",
        subsequent_indent=" " * 15,
        break_on_hyphens=False,
        break_long_words=False,
    )
