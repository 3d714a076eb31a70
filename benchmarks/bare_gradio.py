"""The least that Gradio needs for two pages under one FastAPI: what `start.py` compares with."""

import os
import sys

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
import uvicorn
from fastapi import FastAPI


def page() -> gr.Blocks:
    with gr.Blocks() as blocks:
        text = gr.Textbox()
        gr.Button("Go").click(lambda said: said, text, gr.Textbox())
    return blocks


app = FastAPI()


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


for path in ("/admin", "/"):
    gr.mount_gradio_app(app, page(), path, ssr_mode=False)

uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
