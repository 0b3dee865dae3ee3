"""The lab: one page on one's own machine to look at an agent, play against it and read what it
wrote.

    python -m eval.lab --runs runs

``page`` is the only module that knows Gradio; every other one computes from values what is shown.
"""
