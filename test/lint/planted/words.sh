#!/usr/bin/env bash
# for shellcheck: a word that is split
rm -r $1
