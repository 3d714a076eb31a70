"""
What an English statement about a picture says, as far as words alone tell: its nouns, whether
it claims that something is there, and whether it denies.

Other languages are recognised by their letters and small words, and read no further.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from backends.engines.entailment.colours import COLOURS
from backends.engines.entailment.nouns import Noun, NounTable

_THERE_IS = re.compile(
    r"^(there (is|are)|(the|this|a) (picture|photo|image) (shows|contains|has)|i can see|we see)\s+"
)
_AMOUNT_OF = re.compile(r"\b(piece|pieces|cup|glass|bowl|group|kind|type) of ")
_DENIAL = re.compile(r"\b(no|not|without|nobody|none|never|isn't|aren't)\b")
_INDEFINITE = re.compile(r"(a|an|some|two|three|many|several|no|people|children|men|women)\b")
_PICTURE = re.compile("photo|picture|image")
_ARTICLES = ("a", "an", "the")
_SMALL = """
    is are a an the there in on of at and with this some it has many several no stands standing
    lies sits sitting parked near next to along under
"""
_PLAIN = {*_SMALL.split(), *COLOURS}  # words that need no checking

_OTHERS = """
    der das ist ein eine einen und nicht kein keine auf dem les un une est il dans avec una es
    esta estan y um uma em na sao della gli een het och ett det sebuah
"""
_FOREIGN = set(_OTHERS.split())  # small words of other languages that English does not have
_WORD = re.compile(r"\b[A-Za-z][a-z]*\b")  # UN and EST are names, not words


@dataclass(frozen=True, slots=True)
class Sentence:
    """
    `exists`: it says "there is" or "the picture shows". `is_indefinite`: it speaks of a thing,
    not of the thing. `colours`: colour words in it that may describe something. `unchecked`:
    words that are neither nouns nor plain.
    """

    is_english: bool
    nouns: tuple[Noun, ...] = ()
    colours: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    exists: bool = False
    is_indefinite: bool = False
    is_denied: bool = False
    is_ongoing: bool = False
    is_about_black_and_white: bool = False


def read_sentence(statement: str, table: NounTable) -> Sentence:
    if not is_english(statement):
        return Sentence(is_english=False)
    text = _without_accents(statement).lower().strip()
    claim = _THERE_IS.sub("", text)
    exists = claim != text
    claim = _AMOUNT_OF.sub("", claim)
    words = re.findall("[a-z]+", claim)
    nouns = table.find(words)
    covered = {at for noun in nouns for at in range(noun.start, noun.end)}
    return Sentence(
        is_english=True,
        nouns=tuple(noun for noun in nouns if not _is_describing(noun, words)),
        colours=tuple(colour for colour in COLOURS if re.search(rf"\b{colour}\b", text)),
        unchecked=tuple(
            word for at, word in enumerate(words) if at not in covered and word not in _PLAIN
        ),
        exists=exists,
        is_indefinite=exists or bool(_INDEFINITE.match(claim)),
        is_denied=bool(_DENIAL.search(text)),
        is_ongoing=bool(re.search(r"ing\b", text)),
        is_about_black_and_white="black and white" in text and bool(_PICTURE.search(text)),
    )


def _is_describing(noun: Noun, words: Sequence[str]) -> bool:
    """A colour word that stands before what it describes, as in "an orange suit"."""
    is_alone = noun.end == len(words) or noun.start == 0 or words[noun.start - 1] in _ARTICLES
    return noun.name in COLOURS and not is_alone


def _without_accents(text: str) -> str:
    """And with straight apostrophes: a "café" is a noun too."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'"))
    return "".join(each for each in plain if not unicodedata.combining(each))


def is_english(text: str) -> bool:
    """Short of a dictionary: Latin letters, accents aside, and no foreign small word."""
    text = _without_accents(text)
    if any(each.isalpha() and not each.isascii() for each in text):
        return False
    return not _FOREIGN & {word.lower() for word in _WORD.findall(text)}
