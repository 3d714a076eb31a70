"""
What the tabs offer to try, one click from an answer worth looking at.

Rerank: the first is filled in when the page opens. In it the wrong documents share words with the
query and the right ones share none; a test asks the real model which of them win.
Translate: texts that the embedded translator does well; a test looks for the words that show it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranked:
    """A query, documents and some of our photos to rank; `key` names its button."""

    key: str
    query: str
    documents: tuple[str, ...]
    photos: tuple[str, ...] = ()


RERANK = (
    Ranked(
        "rerank.example_meaning",
        "Why is my computer so slow?",
        (
            "The slow cooker on my computer desk is still warm.",
            "A snail is so slow that it needs an hour for ten metres.",
            "Too many programs open at once fill the memory, and the machine starts to swap to "
            "disk.",
            "Traffic is slow on the ring road because of road works.",
            "Dust in the fan lets the processor overheat, and it throttles itself.",
            "The computer science course starts in October.",
            "A full or failing drive makes a laptop sluggish.",
            "My computer bag is so old that its zip no longer closes.",
        ),
    ),
    Ranked(
        "rerank.example_chinese",
        "怎样才能睡得更好？",
        (
            "怎样才能跑得更快：给初学者的十条建议。",
            "睡衣怎样洗才能更柔软？",
            "晚上不要喝咖啡，睡前一小时放下手机，卧室保持黑暗和凉爽。",
            "这家酒店的床更大，价格也更好。",
            "固定的作息时间有助于缓解失眠。",
            "更好的相机才能拍出更清楚的照片。",
            "火车明天早上八点出发。",
            "白天多运动，夜里更容易入眠。",
        ),
    ),
    Ranked(
        "rerank.example_across",
        "How do I get a refund?",
        (
            "How do I get to the airport by bus?",
            "Get a free cup of coffee with every refuel.",
            "请保留小票，七天之内可以到门店办理退款。",
            "Le musée est fermé le lundi.",
            "返品された商品の代金は、クレジットカードに返金します。",
            "Para devolver el dinero necesitamos el número de su pedido.",
            "يُعاد المبلغ إلى بطاقتك خلال أسبوعين من إرجاع البضاعة.",
        ),
    ),
    Ranked(
        "rerank.example_hard",
        "jaguar speed in the wild",
        (
            "The Jaguar F-Type reaches a top speed of 300 km/h.",
            "The big spotted cat of the Amazon sprints at about 80 km/h when it hunts.",
            "Macintosh OS X 10.2 was called Jaguar.",
            "The speed of wildfires depends on the wind.",
            "Leopards and pumas rarely share a territory.",
        ),
    ),
    Ranked(
        "rerank.example_pictures",
        "a hot drink in a red cup",
        (
            "Espresso, served with a small spoon.",
            "The stands were red with scarves as the hosts won the cup.",
        ),
        ("chelsea.jpg", "coffee.jpg", "rocket.jpg", "hubble_deep_field.jpg"),
    ),
)


@dataclass(frozen=True, slots=True)
class Translated:
    """A text to translate; `key` names its button."""

    key: str
    text: str
    source: str
    target: str


TRANSLATE = (
    Translated(
        "translate.example_story",
        "My grandmother always said that rain on a wedding day brings good luck. It rained all "
        "day at mine, and we have been happy for thirty years.",
        "en",
        "pt",
    ),
    Translated(
        "translate.example_back",
        "O quarteto afinou em silêncio antes que as luzes se apagassem.\n\n"
        "A minha avó dizia sempre que chuva no dia do casamento traz sorte.",
        "auto",
        "en",
    ),
    Translated(
        "translate.example_kept",
        "Hello {name}, your order #4521 will arrive on Friday. "
        "Track it at https://example.org/orders/4521 😀",
        "en",
        "pt",
    ),
)


@dataclass(frozen=True, slots=True)
class Stated:
    """One of our photos and statements about it; `key` names its button."""

    key: str
    photo: str
    statements: tuple[str, ...]


ENTAILMENT = (
    Stated(
        "entailment.example_cat",
        "chelsea.jpg",
        (
            "There is a cat.",
            "There is a dog.",
            "There is no cat.",
            "The cat is waiting for its owner.",
        ),
    ),
    Stated(
        "entailment.example_coffee",
        "coffee.jpg",
        ("There is a cup of coffee.", "There is a cat.", "The coffee is hot."),
    ),
    Stated(
        "entailment.example_person",
        "astronaut.jpg",
        ("There is a person.", "There is no person.", "A woman smiles."),
    ),
)


@dataclass(frozen=True, slots=True)
class Faces:
    """Two of our photos of two different people; `key` names its button."""

    key: str
    source: str
    target: str


FUSION = (
    Faces("fusion.example_there", "hopper.jpg", "astronaut.jpg"),
    Faces("fusion.example_back", "astronaut.jpg", "hopper.jpg"),
)
