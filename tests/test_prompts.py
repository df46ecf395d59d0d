"""Other tools' prompt syntax: told from plain words, with one sentence that says what to do."""

import time

import pytest

from minisd.tokenizer import other_syntax

FOUND = {  # a prompt -> a part of each of its notes
    "(red house:1.4)": ["'(red house:1.4)' gives no word a weight"],
    "(red house : .8), sunset": ["gives no word a weight"],
    "(a, (red:1.2) house)": ["'(red:1.2)' gives no word"],
    "a ((red)) house": ["'((red))' gives no word"],
    "(((masterpiece, best quality)))": ["gives no word a weight"],
    "red house:1.3, tent": ["':1.3' gives no word"],
    "a tall++ man": ["'++' gives no word"],
    "a (tall man)++": ["'++' gives no word"],
    "a (tall man)1.2 with a hat": ["')1.2' gives no word"],
    "a (tall man)0.5": ["')0.5' gives no word"],
    "a man, hat--, coat": ["'hat--' gives no word"],
    "a [blurry] house": ["'[blurry]' weakens no words"],
    "a {red} house": ["'{red}' strengthens no words"],
    "a {{red}} house": ["'{red}' strengthens"],
    "[red:blue:0.5] house": ["'[red:blue:0.5]' changes nothing during the painting"],
    "a [house:10]": ["'[house:10]' changes nothing"],
    "[:tent:.3]": ["changes nothing"],
    "a [red|blue] house": ["'[red|blue]' does not alternate"],
    "a {red|blue|green} house": ["'{red|blue|green}' is not replaced"],
    "a __colour__ house": ["'__colour__' is not replaced"],
    "a __clothes/hat*__": ["is not replaced"],
    "a house <lora:style:0.8>": ["'<lora:style:0.8>' adds no LoRA", "--lora FILE"],
    "<lyco:style:1>": ["adds no LoRA"],
    "a house <hypernet:anime:1>": ["hypernetworks"],
    "a house, embedding:badhands": ["'embedding:badhands' is read as words", "--embedding FILE"],
    "a (embedding:bad_v2.pt:1.2) house": ["embedding:bad_v2", "gives no word a weight"],
    "<embed:mine> house": ["--embedding"],
    "a red house BREAK a tent": ["'BREAK' joins no prompts"],
    "a cat AND a dog": ["'AND' joins no prompts"],
    "a cat :: a dog ::2": ["joins no prompts"],
    'a "cat".swap("dog")': ["is a command of compel"],
    '("a cat", "a dog").and(1, 0.5)': ["is a command of compel"],
    '("a cat", "a dog").blend(0.7, 0.3)': ["is a command of compel"],
    "a red house --ar 16:9 --v 5": ["'--ar' is an option of Midjourney"],
    "a house \\(series\\)": ["is read with its backslash"],
    "a house Negative prompt: tent Steps: 20, Sampler: Euler a": ["--negative"],
    "<random:red,blue> house": ["SwarmUI"],
    "(red house:1.4), [tent] <lora:style:0.8>": ["no word a weight", "weakens", "adds no LoRA"],
}
PLAIN = [
    "",
    "a cat (sitting)",
    "a cat (sitting) and a dog (asleep), 1:1",
    "a clock at 10:30 (or 16:9)",
    "a street (at 5:30) in Rome",
    "A HOUSE AND A TENT",
    "BREAK THE GLASS",
    "a house (c) 2022, f/1.8, 35mm",
    "a C++ book and a g++ manual",
    "rock'n'roll; well-known -- and loved",
    "a letter to J. Smith (1850-1910)",
    "it's 50% off: $9.99!!!",
    "I <3 pizza, 2 < 3 > 1",
    "snake_case and __init",
    "a red house: big and old",
    "title: a house, 2nd edition",
    "cat & dog / sun + moon = love",
    "an android phone, and or",
    "a photo (close-up), (blue) eyes",
    "<cat-toy> on <my style>",
    "smile :) and wink ;-)",
    "(smile) :(",
    "a tree -- old and bent -- in the snow",
    "雪の中の赤い家(夜)",
]


@pytest.mark.parametrize("prompt", FOUND)
def test_found(prompt):
    notes = other_syntax(prompt)
    assert all(any(part.strip("'") in note for note in notes) for part in FOUND[prompt]), notes
    assert len(notes) == len(set(notes)) <= 3
    assert all("\n" not in note and len(note) < 250 for note in notes)


@pytest.mark.parametrize("prompt", PLAIN)
def test_plain_words(prompt):
    assert other_syntax(prompt) == []


@pytest.mark.parametrize(
    "part", ["(", ")", "[", "{", "<", "(a:", "[a|", "{a|", "((", "++", "__", "a:1.", "\\"]
)
def test_long_prompts_are_read_in_no_time(part):
    start = time.perf_counter()
    other_syntax(part * 20_000)
    assert time.perf_counter() - start < 5
