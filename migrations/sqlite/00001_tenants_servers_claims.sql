-- Times are microseconds since 1970 (UTC), the same number on both databases.
-- Columns named sealed_* are AES-256-GCM under the key that key_id names.

-- +goose Up
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('config_version', 1), ('claim_seq', 0);

-- Every scope key that was ever given. Rows are never deleted: a key must not
-- come back, for what an earlier tenant left on the servers carries it.
CREATE TABLE scope_keys (
    scope_key  TEXT    NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    CHECK (length(scope_key) BETWEEN 4 AND 8 AND scope_key GLOB '[g-z]*' AND scope_key NOT GLOB '*[^a-z0-9]*')
) STRICT, WITHOUT ROWID;

CREATE TABLE tenants (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    slug       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    scope_key  TEXT    NOT NULL REFERENCES scope_keys (scope_key),
    state      TEXT    NOT NULL CHECK (state IN ('active', 'suspended')),
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tenants_slug ON tenants (slug);
CREATE UNIQUE INDEX tenants_scope_key ON tenants (scope_key);

CREATE TABLE tenant_secrets (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id     INTEGER NOT NULL REFERENCES tenants (id),
    label         TEXT    NOT NULL,
    key_id        TEXT    NOT NULL,
    sealed_secret BLOB    NOT NULL,
    fingerprint   BLOB    NOT NULL,
    shared        INTEGER NOT NULL CHECK (shared IN (0, 1)),
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER
) STRICT;
-- One secret twice in one tenant would survive being revoked.
CREATE UNIQUE INDEX tenant_secrets_value ON tenant_secrets (tenant_id, fingerprint) WHERE revoked_at IS NULL;
CREATE INDEX tenant_secrets_fingerprint ON tenant_secrets (fingerprint) WHERE revoked_at IS NULL;

CREATE TABLE tenant_hosts (
    host       TEXT    NOT NULL PRIMARY KEY,
    tenant_id  INTEGER NOT NULL REFERENCES tenants (id),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tenant_hosts_tenant ON tenant_hosts (tenant_id);

CREATE TABLE servers (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    name           TEXT    NOT NULL,
    api_url        TEXT    NOT NULL,
    public_url     TEXT    NOT NULL,
    key_id         TEXT    NOT NULL,
    sealed_secret  BLOB    NOT NULL,
    algorithm      TEXT    NOT NULL CHECK (algorithm IN ('sha1', 'sha256', 'sha384', 'sha512')),
    capacity_seats INTEGER NOT NULL CHECK (capacity_seats >= 0),
    pool           TEXT    NOT NULL,
    admin_state    TEXT    NOT NULL CHECK (admin_state IN ('enabled', 'draining', 'disabled')),
    created_at     INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX servers_name ON servers (name);
CREATE UNIQUE INDEX servers_api_url ON servers (api_url);

-- External IDs are compared byte for byte (SQLite's BINARY collation).
CREATE TABLE claims (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id     INTEGER NOT NULL REFERENCES tenants (id),
    external_id   TEXT    NOT NULL CHECK (external_id <> ''),
    generation    INTEGER NOT NULL CHECK (generation >= 1),
    seq           INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN
        ('claimed', 'unknown', 'running', 'ending', 'lost', 'ended', 'released', 'superseded')),
    server_id     INTEGER NOT NULL REFERENCES servers (id),
    scoped_id     TEXT    NOT NULL,
    internal_id   TEXT    NOT NULL,
    create_time   INTEGER NOT NULL,
    ref           TEXT    NOT NULL,
    secret_id     INTEGER REFERENCES tenant_secrets (id),
    seats         INTEGER NOT NULL,
    end_requested INTEGER NOT NULL CHECK (end_requested IN (0, 1)),
    key_id        TEXT    NOT NULL,
    sealed_params BLOB    NOT NULL,
    sealed_answer BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;
-- A meeting lives on one server: a room has one live claim.
CREATE UNIQUE INDEX claims_live_room ON claims (tenant_id, external_id)
    WHERE state IN ('claimed', 'unknown', 'running', 'ending');
CREATE UNIQUE INDEX claims_generation ON claims (tenant_id, external_id, generation);
-- The look-ups. Finished claims of a room used every day must not slow them.
CREATE INDEX claims_room ON claims (tenant_id, external_id, generation)
    WHERE state IN ('claimed', 'unknown', 'running', 'ending', 'lost');
CREATE INDEX claims_internal_id ON claims (tenant_id, internal_id, generation)
    WHERE state IN ('claimed', 'unknown', 'running', 'ending', 'lost');
CREATE INDEX claims_present ON claims (id)
    WHERE state IN ('claimed', 'unknown', 'running', 'ending', 'lost');
-- The feed.
CREATE UNIQUE INDEX claims_seq ON claims (seq);
