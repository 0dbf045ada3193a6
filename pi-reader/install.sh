#!/bin/sh
# Installs the reader on Raspberry Pi OS (or any Debian with systemd), and nothing but the reader: its own dependencies,
# the Node that the project brings along, a user, a service. Run it as root in a clone of the project:
#
#     sudo sh pi-reader/install.sh [--prefix /opt/bijuli]
#
# It can be run again to update; keys, settings and the store are never touched.
set -eu

prefix=/opt/bijuli
while [ $# -gt 0 ]; do
  case "$1" in
    --prefix) prefix=$2; shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
done
[ "$(id -u)" = 0 ] || { echo "run it as root: sudo sh pi-reader/install.sh" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
# What is copied is taken away first, which must not be the clone itself.
if [ -d "$prefix" ] && [ "$(cd "$prefix" && pwd -P)" = "$(cd "$source" && pwd -P)" ]; then
  echo "$prefix is where it gets installed: clone the project to another folder, and run it from there" >&2
  exit 2
fi
case "$(uname -m)" in
  aarch64 | arm64) arch=arm64 ;;
  x86_64) arch=x64 ;;
  *) echo "$(uname -m) is not supported: the reader needs a 64-bit system" >&2; exit 2 ;;
esac
for tool in npm make g++ python3; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install npm build-essential python3" >&2; exit 2; }
done

mkdir -p "$prefix"
for path in package.json package-lock.json .npmrc LICENSE protocol pi-reader scripts/empty; do
  mkdir -p "$prefix/$(dirname "$path")"
  rm -rf "${prefix:?}/$path"
  cp -R "$source/$path" "$prefix/$path"
done
# npm wants every workspace that the lock file names to be there.
for part in adapter contracts dashboard jobs; do
  mkdir -p "$prefix/$part"
  cp "$source/$part/package.json" "$prefix/$part/"
done
cd "$prefix"
# The addon is built for the Node that runs the reader, not for the one that runs npm.
npm_config_nodedir="$prefix/node_modules/node-linux-$arch" \
  npm ci --workspace=@bijuli/pi-reader --include-workspace-root --omit=dev --no-audit --no-fund --loglevel=error
# npm leaves some of what other parts need, and the demo's chain; a meter needs neither.
npm query :extraneous --loglevel=error |
  node_modules/.bin/node -e 'for (const one of JSON.parse(require("fs").readFileSync(0, "utf8"))) console.log(one.location)' |
  while read -r location; do
    case "$location" in node_modules/*) rm -rf "./$location" ;; esac
  done
rm -rf node_modules/@foundry-rs
# The reader, its addon and its other libraries are loaded once, so that what is missing shows now.
node_modules/.bin/node pi-reader/src/cli.ts --help >/dev/null
(cd pi-reader && ../node_modules/.bin/node -e 'require("i2c-bus"); for (const name of ["modbus-serial", "ethers", "pino", "prom-client", "zod"]) require(name)')

[ "$prefix" = /opt/bijuli ] || { echo "installed in $prefix; the service expects /opt/bijuli and was not set up"; exit 0; }
getent group i2c >/dev/null || groupadd --system i2c
id bijuli >/dev/null 2>&1 || useradd --system --home-dir /var/lib/bijuli --shell /usr/sbin/nologin bijuli
install -d -m 0750 -o root -g bijuli /etc/bijuli
install -d -m 0700 /etc/credstore.encrypted
[ -e /etc/bijuli/reader.env ] || install -m 0640 -o root -g bijuli pi-reader/systemd/reader.env /etc/bijuli/reader.env
install -m 0644 pi-reader/systemd/bijuli-reader.service /etc/systemd/system/
systemctl daemon-reload
cat <<NEXT
The reader is installed. Next:
  1. a key:       head -c 24 /dev/urandom | base64 > /root/reader-password
                  cd /opt/bijuli && node_modules/.bin/node pi-reader/src/cli.ts keygen --out /etc/bijuli/reader-key.json --password-file /root/reader-password
                  chown bijuli /etc/bijuli/reader-key.json
                  systemd-creds encrypt --name=reader-key-password /root/reader-password /etc/credstore.encrypted/reader-key-password
                  keep a copy of key and password in a safe place, then: shred -u /root/reader-password
  2. settings:    /etc/bijuli/reader.env
  3. the service: systemctl enable --now bijuli-reader
NEXT
