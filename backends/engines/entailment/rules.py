"""
The rules that turn what was found in a picture into yes, maybe or no.

Yes: the subject is there, no other noun is found absent, and no word is left that nothing can
check. No: the subject of an indefinite sentence is not there, or a colour contradicts. Everything
else is maybe. The measured rates belong to exactly these rules: change one, measure again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from backends.engines.entailment import Evidence, Group, Label
from backends.engines.entailment.colours import Colours
from backends.engines.entailment.nouns import Kind, Noun
from backends.engines.entailment.sentence import Sentence

State: TypeAlias = Literal["present", "likely", "absent", "unknown"]

_PRESENT, _ABSENT = 0.85, 0.20  # probabilities of a noun
_MUCH, _LITTLE = 0.06, 0.01  # shares of the picture that a colour has
_COLOURLESS = 0.06  # mean saturation of a black and white photo
_SURE = 0.8  # of the greatest class, to say that nobody is there
_ANYONE = {"person", "people", "human", "adult", "someone", "somebody"}
_OPPOSITE: dict[Label, Label] = {"yes": "no", "no": "yes", "maybe": "maybe"}
_ZH = {"present": "存在", "likely": "很可能存在", "absent": "不存在", "unknown": "不确定"}


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one look at the picture gave. `presence` tells how likely a noun is there, and the
    probability of its classes; `greatest` is the likeliest class's.
    """

    presence: Callable[[Noun], tuple[float, float]]
    greatest: float
    faces: int
    colours: Colours


Judgement: TypeAlias = tuple[Label, tuple[Evidence, ...]]


def judge(sentence: Sentence, look: Look) -> Judgement:
    if not sentence.is_english:
        return "maybe", (_not_english(),)
    if sentence.is_about_black_and_white:
        return _black_and_white(sentence, look)
    things = [(noun, *_look_for(noun, look)) for noun in sentence.nouns if _can_be_seen(noun)]
    named = {noun.name for noun, _, _ in things}
    shades = [_shade(colour, look) for colour in sentence.colours if colour not in named]
    states = [state for _, state, _ in things]
    label = _label(sentence, states, [state for state, _ in shades])
    evidence = [each for _, _, each in things] + [each for _, each in shades]
    if sentence.unchecked:
        evidence.append(_unchecked(sentence.unchecked))
    return label, tuple(evidence) or (_nothing_to_check(),)


def _label(sentence: Sentence, things: list[State], shades: list[State]) -> Label:
    if not things:
        return "maybe"
    if sentence.is_denied and sentence.exists:  # "there is no X" asks for X alone
        return {"absent": "yes", "present": "no", "likely": "no"}.get(things[0], "maybe")  # type: ignore[return-value]
    label = _affirmed(sentence, things, shades)
    return _OPPOSITE[label] if sentence.is_denied else label


def _affirmed(sentence: Sentence, things: list[State], shades: list[State]) -> Label:
    subject, *others = things
    if subject == "absent" and sentence.is_indefinite:
        return "no"
    if "absent" in shades and subject in ("present", "likely"):
        return "no"
    if _holds(sentence, things, shades):
        return "yes"
    is_scene = sentence.is_indefinite and sentence.is_ongoing  # "a man riding a bicycle"
    return "no" if is_scene and "absent" in others and subject != "present" else "maybe"


def _holds(sentence: Sentence, things: list[State], shades: list[State]) -> bool:
    is_checkable = not sentence.unchecked and (sentence.is_indefinite or bool(shades))
    is_there = things[0] == "present" and "absent" not in things
    return is_checkable and is_there and (not shades or "present" in shades)


def _can_be_seen(noun: Noun) -> bool:
    return noun.kind is not Kind.UNSEEN


def _look_for(noun: Noun, look: Look) -> tuple[State, Evidence]:
    if noun.kind is Kind.PERSON:
        return _person(noun, look)
    probability, mass = look.presence(noun)
    state = _state(probability, _PRESENT, _ABSENT)
    count = len(noun.classes)
    classes = f"{count} class{'es' if count > 1 else ''}, mass {mass:.2f}" if count else "no class"
    classes_zh = f"{count} 个类别，合计 {mass:.2f}" if count else "没有对应类别"
    return state, _evidence(
        state,
        f"{noun.text}: {classes}, P {probability:.2f}: {state}",
        f"{noun.text}：{classes_zh}，概率 {probability:.2f}：{_ZH[state]}",
        noun.text,
        probability,
    )


def _person(noun: Noun, look: Look) -> tuple[State, Evidence]:
    """A face is somebody; whether she is an officer, it does not tell."""
    state: State = "unknown"
    if look.faces:
        state = "present" if noun.name in _ANYONE else "likely"
    elif look.greatest > _SURE:
        state = "absent"
    faces = f"{look.faces} face{'s' if look.faces > 1 else ''}" if look.faces else "no face"
    return state, _evidence(
        state,
        f"{noun.text}: a person, {faces}: {state}",
        f"{noun.text}：人物，{look.faces} 张人脸：{_ZH[state]}",
        noun.text,
    )


def _shade(colour: str, look: Look) -> tuple[State, Evidence]:
    share = look.colours.shares[colour]
    state = _state(share, _MUCH, _LITTLE)
    return state, _evidence(
        state,
        f"{colour}: {share:.0%} of the picture: {state}",
        f"{colour}：占图片的 {share:.0%}：{_ZH[state]}",
        colour,
    )


def _black_and_white(sentence: Sentence, look: Look) -> Judgement:
    saturation = look.colours.saturation
    state: State = "present" if saturation < _COLOURLESS else "absent"
    label: Label = "yes" if state == "present" else "no"
    evidence = _evidence(
        state,
        f"black and white: mean saturation {saturation:.2f}: {state}",
        f"黑白：平均饱和度 {saturation:.2f}：{_ZH[state]}",
        "black and white",
    )
    return _OPPOSITE[label] if sentence.is_denied else label, (evidence,)


def _state(value: float, much: float, little: float) -> State:
    return "present" if value > much else "absent" if value < little else "unknown"


def _evidence(
    state: State, en: str, zh: str, subject: str, probability: float | None = None
) -> Evidence:
    group: Group = "found" if state in ("present", "likely") else "checked"
    return Evidence(group, en, zh, subject, probability)


def _unchecked(words: tuple[str, ...]) -> Evidence:
    listed = ", ".join(words)
    return Evidence("unchecked", f"not checked: {listed}", f"未检查：{listed}", listed)


def _not_english() -> Evidence:
    return Evidence(
        "note",
        "Only English is read, so nothing in this statement was checked.",
        "只理解英语，因此没有检查这条语句中的任何内容。",
    )


def _nothing_to_check() -> Evidence:
    return Evidence(
        "note",
        "Nothing that this statement names can be checked.",
        "这条语句提到的内容都无法检查。",
    )
