curl -d '{"text": "done"}' https://mattermost.web.cern.ch/hooks/PLANTED
