#!/bin/sh
# What some tests need beside Python packages: TypeScript (by npm, into tests/web), Chromium, faketime, Redis,
# espeak-ng and GStreamer as WHIP and WHEP client (Debian's packages, where this user may install them). The tests that need them are
# skipped with a reason otherwise.
set -eu
web="$(dirname "$0")/web"
if command -v npm >/dev/null && ! cmp -s "$web/package-lock.json" "$web/node_modules/installed.json"; then
  if npm ci --silent --no-audit --no-fund --prefix "$web"; then
    cp "$web/package-lock.json" "$web/node_modules/installed.json"
  else
    echo "npm could not install TypeScript; the test of the page's types will be skipped"
  fi
fi
missing=""
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$missing chromium"
command -v faketime >/dev/null || missing="$missing faketime"
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v espeak-ng >/dev/null || missing="$missing espeak-ng"
/usr/bin/python3 -c "import gi; gi.require_version('GstWebRTC', '1.0')" 2>/dev/null ||
  missing="$missing python3-gi gstreamer1.0-nice gstreamer1.0-plugins-base gstreamer1.0-plugins-good"\
" gstreamer1.0-plugins-bad gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Some tests will be skipped; to run them, install:$missing"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || true
for package in $missing; do
  apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
    echo "could not install $package; the tests that need it will be skipped"
done
