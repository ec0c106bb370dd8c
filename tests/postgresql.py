"""An image of PostgreSQL for tests, of Debian's packages: what compose.yaml asks of the official one, and no more."""

from __future__ import annotations

import hashlib
from pathlib import Path

import debian
import engines
import keeper

IMAGE = "copier-mlflow-postgres:17"
ENTRYPOINT = """#!/bin/sh
set -eu
export PGPASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses=''" start
    createdb --username="$POSTGRES_USER" --host=/var/run/postgresql "$POSTGRES_DB"
    pg_ctl --wait stop
fi
exec "$@"
"""
HOOK = f"""
cd "$1"
cat > usr/local/bin/docker-entrypoint.sh << 'END'
{ENTRYPOINT}END
chmod 755 usr/local/bin/docker-entrypoint.sh
echo "listen_addresses = '*'" >> usr/share/postgresql/17/postgresql.conf.sample
chroot . install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data
chroot . install -d -o postgres -g postgres -m 3777 /var/run/postgresql
rm -rf usr/share/doc usr/share/locale
"""
CHANGES = (
    'ENTRYPOINT ["docker-entrypoint.sh"]',
    'CMD ["postgres"]',
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin",
    "ENV LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data",
    "STOPSIGNAL SIGINT",
    "VOLUME /var/lib/postgresql/data",
)


def load(engine: engines.Engine, program: str = "docker") -> str:
    """Bring the image into an engine, made once for a machine; gives its name."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    archive = keeper.HOME / f"postgresql-{recipe}.tar"
    with keeper.locked(keeper.HOME / "lock"):
        if not archive.exists():
            part = archive.with_suffix(".part")
            arguments = ("--variant=minbase", "--format=tar", "--include=postgresql-17", f"--customize-hook={HOOK}")
            debian.mmdebstrap(*arguments, "trixie", str(part))
            part.rename(archive)
    changes = [part for change in CHANGES for part in ("--change", change)]
    engine.run(program, "import", *changes, str(archive), IMAGE)
    return IMAGE
