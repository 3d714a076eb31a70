"""
Colours, type and shape, as far as Gradio's theme variables reach; `style.css` says the rest.

Pass the object, never its name: an unknown theme name is looked up on a public hub. The fonts are
the ones inside Gradio's own wheel, so nothing is fetched from anywhere.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.themes.utils import sizes

HERE = Path(__file__).parent

IRIS = gr.themes.Color(
    name="iris",
    c50="#f3f2ff",
    c100="#e9e7ff",
    c200="#d6d3ff",
    c300="#b9b4fb",
    c400="#958ef2",
    c500="#7468e4",
    c600="#5b4fd1",
    c700="#4a3fb0",
    c800="#3d358e",
    c900="#332e70",
    c950="#201d47",
)
INK = gr.themes.Color(
    name="ink",
    c50="#f8f8fa",
    c100="#f0f0f4",
    c200="#e2e2ea",
    c300="#cbcbd7",
    c400="#9a9aac",
    c500="#6b6b80",
    c600="#525266",
    c700="#3d3d50",
    c800="#262634",
    c900="#191923",
    c950="#111118",
)
# In the wheel only Regular and Bold hold the Latin letters: SemiBold would fall back, letter by
# letter, to whatever the system has. A weight of 600 is drawn with Bold.
WEIGHTS = (400, 700)
# The wheel has no Chinese font: each system's own, the commonest first.
CHINESE = (
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei UI",
    "Noto Sans CJK SC",
    "Noto Sans SC",
)

# variable: value, or (light, dark)
VARIABLES: dict[str, str | tuple[str, str]] = {
    "body_background_fill": ("*neutral_50", "*neutral_950"),
    "body_text_color": ("*neutral_900", "#ececf3"),
    "body_text_color_subdued": ("*neutral_500", "#a3a3b8"),
    "background_fill_primary": ("white", "*neutral_900"),
    "background_fill_secondary": ("*neutral_50", "#1f1f2b"),
    "border_color_primary": ("*neutral_200", "#2e2e3e"),
    "block_background_fill": ("white", "*neutral_900"),
    "block_border_width": "1px",
    "block_border_color": ("*neutral_200", "#2e2e3e"),
    "block_shadow": ("none", "none"),
    "block_radius": "14px",
    "container_radius": "14px",
    "block_label_background_fill": ("transparent", "transparent"),
    "block_label_border_width": "0px",
    "block_label_text_color": ("*neutral_600", "#b5b5c8"),
    "block_label_text_weight": "600",
    "block_label_text_size": "*text_sm",
    "block_title_text_color": ("*neutral_700", "#c9c9d8"),
    "block_title_text_weight": "600",
    "block_title_text_size": "*text_sm",
    "block_info_text_color": ("*neutral_500", "#a3a3b8"),
    "block_padding": "14px",
    "layout_gap": "14px",
    "form_gap_width": "0px",
    "input_background_fill": ("white", "#14141d"),
    "input_border_color": ("*neutral_300", "#3a3a4d"),
    "input_border_color_focus": ("*primary_500", "*primary_400"),
    "input_border_width": "1px",
    "input_shadow": "none",
    "input_shadow_focus": ("0 0 0 3px #7468e433", "0 0 0 3px #958ef244"),
    "input_radius": "10px",
    "input_placeholder_color": ("#767689", "#8c8ca1"),
    "button_border_width": "1px",
    "button_primary_background_fill": ("*primary_600", "*primary_600"),
    "button_primary_background_fill_hover": ("*primary_700", "*primary_700"),
    "button_primary_border_color": ("*primary_600", "*primary_600"),
    "button_primary_border_color_hover": ("*primary_700", "*primary_400"),
    "button_primary_text_color": ("white", "white"),
    "button_primary_shadow": "0 1px 2px #201d4726",
    "button_primary_shadow_hover": "0 2px 6px #201d4733",
    "button_secondary_background_fill": ("white", "#232331"),
    "button_secondary_background_fill_hover": ("*neutral_100", "#2c2c3d"),
    "button_secondary_border_color": ("*neutral_300", "#3a3a4d"),
    "button_secondary_text_color": ("*neutral_800", "#dcdce8"),
    "button_secondary_shadow": "none",
    "button_secondary_shadow_hover": "none",
    "button_cancel_background_fill": ("#b42335", "#b42335"),
    "button_cancel_background_fill_hover": ("#951b2b", "#c93346"),
    "button_cancel_border_color": ("#b42335", "#b42335"),
    "button_cancel_text_color": ("white", "white"),
    "button_large_radius": "10px",
    "button_medium_radius": "10px",
    "button_small_radius": "8px",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "600",
    "button_small_text_weight": "400",
    "button_large_padding": "11px 18px",
    "slider_color": ("*primary_600", "*primary_400"),
    "checkbox_background_color_selected": ("*primary_600", "*primary_600"),
    "checkbox_border_color_selected": ("*primary_600", "*primary_600"),
    "checkbox_label_background_fill_selected": ("*primary_50", "#2b2850"),
    "checkbox_label_text_color_selected": ("*primary_800", "#d6d3ff"),
    "checkbox_label_border_color_selected": ("*primary_300", "*primary_600"),
    "checkbox_label_shadow": "none",
    "checkbox_label_padding": "7px 12px",
    "table_border_color": ("*neutral_200", "#2e2e3e"),
    "table_even_background_fill": ("white", "*neutral_900"),
    "table_odd_background_fill": ("*neutral_50", "#1f1f2b"),
    "table_radius": "10px",
    "link_text_color": ("*primary_600", "*primary_300"),
    "color_accent": "*primary_600",
    "color_accent_soft": ("*primary_50", "#2b2850"),
    "error_background_fill": ("#fdf0f1", "#2b1519"),
    "error_border_color": ("#d9525f", "#d9525f"),
    "error_text_color": ("#b42335", "#ff9aa2"),
    "loader_color": "*primary_500",
}


def _spelled(variables: dict[str, str | tuple[str, str]]) -> dict[str, Any]:
    """As `Base.set` wants them: the dark value under a name of its own."""
    spelled: dict[str, Any] = {}
    for name, value in variables.items():
        if isinstance(value, tuple):
            spelled[name], spelled[f"{name}_dark"] = value
        else:
            spelled[name] = value
    return spelled


def theme() -> gr.themes.Base:
    look = gr.themes.Base(
        primary_hue=IRIS,
        secondary_hue=IRIS,
        neutral_hue=INK,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_lg,
        text_size=sizes.text_md,
        font=[
            gr.themes.LocalFont("IBM Plex Sans", weights=WEIGHTS),
            *CHINESE,
            "system-ui",
            "sans-serif",
        ],
        font_mono=[
            gr.themes.LocalFont("IBM Plex Mono", weights=WEIGHTS),
            "ui-monospace",
            "monospace",
        ],
    )
    look.name = "quartet"
    return look.set(**_spelled(VARIABLES))


# The mark of the header, as the page's own picture in the browser's tab.
ICON = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 28 28" fill="#7468e4">'
    '<rect x="2" y="12" width="4" height="12" rx="2"/><rect x="9" y="4" width="4" height="20" '
    'rx="2"/><rect x="16" y="8" width="4" height="16" rx="2"/>'
    '<rect x="23" y="15" width="4" height="9" rx="2"/></svg>'
)

CSS = (HERE / "style.css").read_text(encoding="utf-8")


def first_paint() -> bytes:
    """What stands in the page's head before anything is painted: name, theme, language, script."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return (
        '<title>Quartet</title><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="{ICON}">'
        "<style>html.q-dark body { background: #111118; color: #ececf3; }"
        "html:not(.q-dark) body { background: #f8f8fa; color: #191923; }</style>"
        f"<script>{script}</script>"
    ).encode()
