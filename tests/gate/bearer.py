import requests

requests.get("https://example.org/api", headers={"Authorization": "Bearer PLANTED"}, timeout=9)
