#!/usr/bin/env bash
git clone https://oauth2:"$GITHUB_TOKEN"@github.com/scikit-hep/uproot5   # the variable is fine
export GITHUB_TOKEN=PLANTED
