"""The rules of the embedded entailment: what a sentence says, and which answer follows."""

import numpy as np
import pytest

from backends.engines.entailment import MODELS, SAMPLE, Evidence
from backends.engines.entailment.colours import COLOURS, Colours, colours_of
from backends.engines.entailment.nouns import Kind, Noun, NounTable
from backends.engines.entailment.rules import Look, judge
from backends.engines.entailment.sentence import Sentence, read_sentence
from backends.engines.picture import Picture

TABLE = NounTable()


def said(sentence: str) -> Sentence:
    return read_sentence(sentence, TABLE)


def look(
    present: str = "",
    absent: str = "",
    faces: int = 0,
    greatest: float = 0.5,
    colours: str = "",
    saturation: float = 0.4,
) -> Look:
    """A picture with some nouns surely there, some surely not, and the rest unknown."""

    def presence(noun: Noun) -> tuple[float, float]:
        words = noun.text
        return (
            0.9 if words in present.split(",") else 0.1 if words in absent.split(",") else 0.5
        ), 0.25

    shares = {colour: 0.3 if colour in colours.split(",") else 0.0 for colour in COLOURS}
    return Look(presence, greatest, faces, Colours(shares, saturation))


def names(sentence: str) -> list[str]:
    return [noun.text for noun in said(sentence).nouns]


# Sentences


def test_the_longest_noun_is_found_first() -> None:
    assert names("A swimming pool beside a garden tool.") == ["swimming pool", "garden tool"]
    assert names("a sports car") == ["sports car"]


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("cats", "cat"),
        ("berries", "berry"),
        ("branches", "branch"),
        ("dishes", "dish"),
        ("dresses", "dress"),
        ("boxes", "box"),
        ("loaves", "loaf"),
        ("mice", "mouse"),
        ("geese", "goose"),
    ],
)
def test_plurals_are_folded(many: str, one: str) -> None:
    assert names(f"There are {many}.")[0] in (one, many)
    assert TABLE.find([many])[0].classes == TABLE.find([one])[0].classes


def test_nouns_know_what_can_be_checked() -> None:
    dog, woman, unseen, thing = (TABLE.find([w])[0] for w in ("dog", "woman", "idea", "cup"))
    assert (dog.kind, len(dog.classes)) == (Kind.THING, 118)
    assert (woman.kind, woman.classes) == (Kind.PERSON, ())
    assert (unseen.kind, unseen.classes) == (Kind.UNSEEN, ())
    assert (thing.kind, thing.classes) == (Kind.THING, ())
    assert TABLE.find(["is", "the", "picture"]) == []


def test_a_cup_of_something_asks_for_the_something() -> None:
    assert names("There is a cup of coffee.") == ["coffee"]


def test_a_colour_is_a_noun_only_where_it_stands_alone() -> None:
    assert names("There is an orange.") == ["orange"]
    assert names("There is an orange on a plate.") == ["orange", "plate"]
    assert names("A big orange suit.") == ["suit"]


@pytest.mark.parametrize(
    "lead", ["There is", "there are", "The picture shows", "This image contains", "I can see"]
)
def test_sentences_that_claim_that_something_is_there(lead: str) -> None:
    assert said(f"{lead} a cat.").exists
    assert not said("The cat is there.").exists


def test_words_that_nothing_can_check_are_named() -> None:
    assert said("The cat is waiting for its food.").unchecked == ("waiting", "for", "its")
    assert said("There is a cat in the garden.").unchecked == ()


@pytest.mark.parametrize(
    "sentence",
    [
        "有一只猫。",
        "На фото кошка.",
        "Es gibt kein Auto.",
        "Das Auto ist rot.",
        "Il y a un chat.",
        "La voiture est rouge.",
        "Hay un gato en la mesa.",
        "A casa é vermelha e tem uma porta.",
        "C'è una macchina rossa.",
        "Er is een kat.",
    ],
)
def test_other_languages_get_maybe_and_the_reason(sentence: str) -> None:
    label, evidence = judge(said(sentence), look(present="cat,auto", absent="car"))
    assert label == "maybe"
    assert [each.group for each in evidence] == ["note"]
    assert evidence[0].en.startswith("Only English is read")
    assert "英语" in evidence[0].zh


def test_accents_quotes_and_capital_names_do_not_make_a_sentence_foreign() -> None:
    assert names("There is a café.") == ["cafe"]
    assert said("There isn’t a cat.").is_denied
    assert said("A UN truck near the LA river.").is_english


# Answers


@pytest.mark.parametrize(
    ("sentence", "seen", "label"),
    [
        # there or not
        ("There is a cat.", look(present="cat"), "yes"),
        ("There is a cat.", look(absent="cat"), "no"),
        ("There is a cat.", look(), "maybe"),
        ("A cat is on the sofa.", look(present="cat,sofa"), "yes"),
        ("A cat is on the sofa.", look(present="cat"), "yes"),
        ("A cat is on the sofa.", look(present="cat", absent="sofa"), "maybe"),
        ("A cat is sleeping.", look(present="cat"), "maybe"),
        ("A cat is sleeping.", look(absent="cat"), "no"),
        ("The cat is on the sofa.", look(present="cat,sofa"), "maybe"),
        ("The cat is hungry.", look(absent="cat"), "maybe"),
        ("A dog is chasing a ball.", look(absent="ball"), "no"),
        ("A dog has a ball.", look(absent="ball"), "maybe"),
        ("A dog is chasing a ball.", look(present="dog", absent="ball"), "maybe"),
        # denied
        ("There is no cat.", look(present="cat"), "no"),
        ("There is no cat.", look(absent="cat"), "yes"),
        ("There is no cat.", look(), "maybe"),
        ("There are no people.", look(faces=2), "no"),
        ("There is no woman.", look(faces=2), "no"),
        ("A cat is not on the sofa.", look(absent="cat"), "yes"),
        ("Some cat is on no sofa.", look(present="cat,sofa"), "no"),
        # people
        ("There is a person.", look(faces=1), "yes"),
        ("There is a woman.", look(faces=1), "maybe"),
        ("There is a person.", look(greatest=0.9), "no"),
        ("There is a person.", look(greatest=0.7), "maybe"),
        # colours
        ("The car is red.", look(present="car", colours="red"), "yes"),
        ("The car is red.", look(present="car"), "no"),
        ("The car is red.", look(colours="red"), "maybe"),
        ("The woman is in black.", look(faces=1), "no"),
        ("There is a red car.", look(present="car", colours="red"), "yes"),
        ("The car is red and blue.", look(present="car", colours="red"), "no"),
        ("This is a black and white photo.", look(saturation=0.05), "yes"),
        ("This is a black and white photo.", look(saturation=0.07), "no"),
        ("This is not a black and white photo.", look(saturation=0.07), "yes"),
        # nothing to check
        ("It is beautiful.", look(), "maybe"),
        ("An idea.", look(), "maybe"),
        ("!?", look(), "maybe"),
    ],
)
def test_answers(sentence: str, seen: Look, label: str) -> None:
    assert judge(said(sentence), seen)[0] == label


def evidence(sentence: str, seen: Look) -> list[tuple[str, str]]:
    return [(each.group, each.en) for each in judge(said(sentence), seen)[1]]


def test_the_evidence_says_what_was_found_checked_and_not_checked() -> None:
    seen = look(present="dog", absent="boat", faces=1, colours="red")
    assert evidence("A dog and a woman wait in a red boat with a cup.", seen) == [
        ("found", "dog: 118 classes, mass 0.25, P 0.90: present"),
        ("found", "woman: a person, 1 face: likely"),
        ("checked", "boat: 6 classes, mass 0.25, P 0.10: absent"),
        ("checked", "cup: no class, P 0.50: unknown"),
        ("found", "red: 30% of the picture: present"),
        ("unchecked", "not checked: wait"),
    ]
    assert evidence("A person.", look()) == [("checked", "person: a person, no face: unknown")]
    assert evidence("It is a.", look()) == [
        ("note", "Nothing that this statement names can be checked.")
    ]


def test_every_piece_of_evidence_is_in_both_languages_and_carries_its_subject() -> None:
    given = judge(said("There is a dog and a woman in a red boat waiting."), look(present="dog"))[1]
    assert [each.subject for each in given] == ["dog", "woman", "boat", "red", "waiting"]
    assert [each.probability for each in given] == [0.9, None, 0.5, None, None]
    assert all(isinstance(each, Evidence) and each.en != each.zh for each in given)
    assert "118 个类别" in given[0].zh


# Colours


def plain(red: int, green: int, blue: int) -> Colours:
    return colours_of(Picture(4, 4, bytes((red, green, blue)) * 16))


@pytest.mark.parametrize(
    ("rgb", "colour"),
    [
        ((255, 0, 0), "red"),
        ((255, 128, 0), "orange"),
        ((255, 255, 0), "yellow"),
        ((0, 200, 0), "green"),
        ((0, 0, 255), "blue"),
        ((140, 0, 255), "purple"),
        ((255, 120, 200), "pink"),
        ((255, 255, 255), "white"),
        ((128, 128, 128), "grey"),
        ((128, 128, 128), "gray"),
        ((10, 10, 10), "black"),
    ],
)
def test_each_colour_is_seen_and_no_other(rgb: tuple[int, int, int], colour: str) -> None:
    shares = plain(*rgb).shares
    spellings = {"grey", "gray"} if colour in ("grey", "gray") else {colour}
    assert {name for name, share in shares.items() if share} == spellings
    assert set(shares) == set(COLOURS)


def test_a_grey_picture_has_no_saturation_and_half_a_picture_is_half() -> None:
    assert plain(77, 77, 77).saturation == 0
    half = Picture(2, 96, (b"\xff\0\0\xff\0\0" * 48) + b"\0\0\xff\0\0\xff" * 48)
    assert colours_of(half).shares["red"] == pytest.approx(0.5, abs=0.02)


# The family


def test_models_say_what_they_are_and_what_they_do_not_see() -> None:
    embedded = MODELS["objects-and-faces"]
    assert embedded.embedded
    assert embedded.about[0] == "Checks objects, faces and colours; answers Maybe to the rest"
    assert "not seen" in embedded.limits[0]
    assert "看不出来" in embedded.limits[1]
    assert embedded.capabilities.languages == ("en",)
    assert not embedded.capabilities.premise
    assert MODELS["ofa-large-snli-ve"].capabilities.premise
    assert len(SAMPLE) == 3
    assert np.ptp(SAMPLE[0].picture.array()) > 0
