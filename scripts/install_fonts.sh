#!/usr/bin/env bash
# Installs the fonts that the readers which come along were trained with, as Debian packages (about 150 MB). They are for
# training only (`manyhands reader`, --data glyphs), which takes whatever fonts there are: nothing else needs them.
set -euo pipefail

packages=(
    fonts-averia-sans-gwf fonts-breip fonts-cantarell fonts-comic-neue fonts-crosextra-caladea fonts-crosextra-carlito
    fonts-dejavu fonts-dkg-handwriting fonts-dustin fonts-ebgaramond fonts-ecolier-court fonts-femkeklaver fonts-firacode
    fonts-freefont-ttf fonts-gfs-didot fonts-hack fonts-humor-sans fonts-inter fonts-isabella fonts-junction fonts-kristi
    fonts-lato fonts-league-spartan fonts-liberation fonts-linuxlibertine fonts-oflb-asana-math fonts-open-sans fonts-play
    fonts-quattrocento fonts-roboto-unhinted fonts-rufscript fonts-sil-andika fonts-texgyre fonts-tomsontalks fonts-urw-base35
)
echo "installing ${#packages[@]} packages of fonts with apt-get"
if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root: sudo $0" >&2
    exit 1
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}"
