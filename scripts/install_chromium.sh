#!/bin/sh
# Installs Debian's Chromium, which the browser tests of `manyhands serve` use (tests/web/test_browser.py); without it
# they are skipped. Playwright's own browsers are not needed. It needs root, or sudo.
set -eu

if command -v chromium >/dev/null; then
    echo "there already: $(chromium --version)"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "this system has no apt-get: install Chromium with its own packages, such that 'chromium' is in PATH" >&2
    exit 1
fi
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"
echo "apt-get update; apt-get install --no-install-recommends chromium (about 300 MB)"
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends chromium
chromium --version
