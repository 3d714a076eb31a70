"""
The table of tabs: one for each family that has a page.

A tab that is not here is nowhere: the tab bar, Admin's links and the header's line read this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.portal import Portal
from ui.tabs import entailment, fusion, rerank, translate

if TYPE_CHECKING:
    from ui.shell import Page


@dataclass(frozen=True, slots=True)
class Tab:
    """`verb` is what one does there, (English, Chinese), for the header's line."""

    verb: tuple[str, str]
    build: "Callable[[Portal, Page], None]"


TABS: dict[str, Tab] = {
    "rerank": Tab(verb=("rank documents", "为文档排序"), build=rerank.build),
    "entailment": Tab(verb=("check pictures", "判断图片"), build=entailment.build),
    "fusion": Tab(verb=("fuse faces", "融合人脸"), build=fusion.build),
    "translate": Tab(verb=("translate texts", "翻译文本"), build=translate.build),
}
