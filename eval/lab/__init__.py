"""The lab: one page on one's own machine to look at an agent, play against it and read what it
wrote.

    python -m eval.lab --runs runs

``page``, its parts ``page_*`` and ``widgets`` know Gradio; every other module computes from values
what is shown.
"""

import os

# before Gradio is imported, whoever does so: it would report every start
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
