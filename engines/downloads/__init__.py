"""Fetching models. Nothing here runs while a request is served: only `faceserve models pull` comes here."""
