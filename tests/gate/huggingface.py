"""Fetches a tagger's weights."""

from huggingface_hub import login

login("PLANTED")
