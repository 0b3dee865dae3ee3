"""Training, the studies, and what is done with adapters;
``accelerate launch recipes/sft.py ...``.
"""
