"""
What the tabs offer to try, one click from an answer worth looking at.

Rerank: the first is filled in when the page opens. In it the wrong documents share words with the
query and the right ones share none; a test asks the real model which of them win.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranked:
    """A query and documents to rank; `key` names its button."""

    key: str
    query: str
    documents: tuple[str, ...]


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
)
