"""The page itself: its parts (``page_*.py``) in tabs, and how it is served.

What a visitor does is kept in that visitor's own session; shared are the models, and estimates of
training checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from .markup import block
from .page_bench import Bench
from .page_faithfulness import Faithfulness
from .page_market import Market
from .page_play import Play
from .page_transcripts import Transcripts
from .page_watch import Watch
from .shared import Lab
from .widgets import UNQUEUED


class Part(Protocol):
    """One tab: its components are made in its tab, and connected once all are there."""

    def connect(self, demo: gr.Blocks, look: gr.Button) -> None:
        """Say what happens when the part is used, opened, or asked to look for new runs."""


PARTS: dict[str, tuple[str, Callable[[Lab], Part]]] = {  # tab in the link -> label, part
    "bench": ("Bench", Bench),
    "play": ("Play it yourself", Play),
    "transcripts": ("Transcripts", Transcripts),
    "faithfulness": ("Recitation and faithfulness", Faithfulness),
    "market": ("Market", Market),
    "watch": ("Training watch", Watch),
}
# Gradio also selects a tab by itself when the page is opened: that one is not written into the
# link, which may name another
KEEP_TAB = (
    "() => {{ if (!window.labIsOpen) {{ window.labIsOpen = true; return; }}"
    " const u = new URL(location); u.searchParams.set('tab', '{}');"
    " history.replaceState(null, '', u); }}"
)
THEME = gr.themes.Base(
    primary_hue="blue",
    neutral_hue="gray",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
    radius_size="sm",
)
STYLE = Path(__file__).with_name("style.css")


def build(lab: Lab) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="econmoral lab", analytics_enabled=False, fill_width=True) as demo:
        with gr.Row(equal_height=True):
            gr.HTML(block("<h1>econmoral lab</h1>"), min_width=220)
            look = gr.Button("Look for new runs", size="sm", scale=0, min_width=180, elem_id="look")
        with gr.Tabs(selected="bench") as tabs:
            for name, (label, part) in PARTS.items():
                with gr.Tab(label, id=name) as tab:
                    made = part(lab)
                    made.connect(demo, look)
                tab.select(None, js=KEEP_TAB.format(name))
                if isinstance(made, Bench):
                    made.when_shown(tab)
        demo.load(opened, None, tabs, **UNQUEUED)
    return demo


def opened(request: gr.Request) -> gr.Tabs:
    """The tab that the link names."""
    asked = dict(request.query_params).get("tab", "bench")
    return gr.Tabs(selected=asked if asked in PARTS else "bench")


def launch(lab: Lab, host: str, port: int, password: str | None, wait: bool = True) -> Any:
    """Serve the page; returns Gradio's (app, local address, None) where it is not waited for."""

    def allowed(user: str, given: str) -> bool:
        return user == "lab" and compare_digest(given.encode(), (password or "").encode())

    return build(lab).launch(
        server_name=host,
        server_port=port,
        theme=THEME,
        css_paths=STYLE,
        auth=allowed if password else None,
        auth_message="User name: lab",
        share=False,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        show_error=True,
        quiet=True,
        prevent_thread_lock=not wait,
        inbrowser=False,
    )
