-- Times are microseconds since 1970 (UTC), the same number on both databases.
-- Columns named sealed_* are AES-256-GCM under the key that key_id names.

-- +goose Up
CREATE TABLE meta (
    name  TEXT NOT NULL CONSTRAINT meta_pkey PRIMARY KEY,
    value TEXT NOT NULL
);

-- The row config_version is locked first by every change of the configuration.
CREATE TABLE counters (
    name  TEXT   NOT NULL CONSTRAINT counters_pkey PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('config_version', 1);

-- CACHE 1: with more, numbers would be given out in another order than asked for.
CREATE SEQUENCE claim_seq AS BIGINT START 1 CACHE 1;

-- Every scope key that was ever given. Rows are never deleted: a key must not
-- come back, for what an earlier tenant left on the servers carries it.
CREATE TABLE scope_keys (
    scope_key  TEXT   NOT NULL COLLATE "C" CONSTRAINT scope_keys_pkey PRIMARY KEY,
    created_at BIGINT NOT NULL,
    CONSTRAINT scope_keys_form CHECK (scope_key ~ '^[g-z][a-z0-9]{3,7}$')
);

CREATE TABLE tenants (
    id         BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT tenants_pkey PRIMARY KEY,
    slug       TEXT   NOT NULL COLLATE "C",
    name       TEXT   NOT NULL,
    scope_key  TEXT   NOT NULL COLLATE "C" REFERENCES scope_keys (scope_key),
    state      TEXT   NOT NULL CHECK (state IN ('active', 'suspended')),
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX tenants_slug ON tenants (slug);
CREATE UNIQUE INDEX tenants_scope_key ON tenants (scope_key);

CREATE TABLE tenant_secrets (
    id            BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT tenant_secrets_pkey PRIMARY KEY,
    tenant_id     BIGINT  NOT NULL REFERENCES tenants (id),
    label         TEXT    NOT NULL,
    key_id        TEXT    NOT NULL,
    sealed_secret BYTEA   NOT NULL,
    fingerprint   BYTEA   NOT NULL,
    shared        BOOLEAN NOT NULL,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT,
    revoked_at    BIGINT
);
-- One secret twice in one tenant would survive being revoked.
CREATE UNIQUE INDEX tenant_secrets_value ON tenant_secrets (tenant_id, fingerprint) WHERE revoked_at IS NULL;
CREATE INDEX tenant_secrets_fingerprint ON tenant_secrets (fingerprint) WHERE revoked_at IS NULL;

CREATE TABLE tenant_hosts (
    host       TEXT   NOT NULL COLLATE "C" CONSTRAINT tenant_hosts_pkey PRIMARY KEY,
    tenant_id  BIGINT NOT NULL REFERENCES tenants (id),
    created_at BIGINT NOT NULL
);
CREATE INDEX tenant_hosts_tenant ON tenant_hosts (tenant_id);

CREATE TABLE servers (
    id             BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT servers_pkey PRIMARY KEY,
    name           TEXT   NOT NULL COLLATE "C",
    api_url        TEXT   NOT NULL COLLATE "C",
    public_url     TEXT   NOT NULL,
    key_id         TEXT   NOT NULL,
    sealed_secret  BYTEA  NOT NULL,
    algorithm      TEXT   NOT NULL CHECK (algorithm IN ('sha1', 'sha256', 'sha384', 'sha512')),
    capacity_seats BIGINT NOT NULL CHECK (capacity_seats >= 0),
    pool           TEXT   NOT NULL,
    admin_state    TEXT   NOT NULL CHECK (admin_state IN ('enabled', 'draining', 'disabled')),
    created_at     BIGINT NOT NULL
);
CREATE UNIQUE INDEX servers_name ON servers (name);
CREATE UNIQUE INDEX servers_api_url ON servers (api_url);

-- External IDs are compared byte for byte, whatever the database's locale.
CREATE TABLE claims (
    id            BIGINT GENERATED ALWAYS AS IDENTITY CONSTRAINT claims_pkey PRIMARY KEY,
    tenant_id     BIGINT  NOT NULL REFERENCES tenants (id),
    external_id   TEXT    NOT NULL COLLATE "C" CHECK (external_id <> ''),
    generation    BIGINT  NOT NULL CHECK (generation >= 1),
    seq           BIGINT  NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN
        ('claimed', 'unknown', 'running', 'ending', 'lost', 'ended', 'released', 'superseded')),
    server_id     BIGINT  NOT NULL REFERENCES servers (id),
    scoped_id     TEXT    NOT NULL COLLATE "C",
    internal_id   TEXT    NOT NULL COLLATE "C",
    create_time   BIGINT  NOT NULL,
    ref           TEXT    NOT NULL COLLATE "C",
    secret_id     BIGINT  REFERENCES tenant_secrets (id),
    seats         BIGINT  NOT NULL,
    end_requested BOOLEAN NOT NULL,
    key_id        TEXT    NOT NULL,
    sealed_params BYTEA   NOT NULL,
    sealed_answer BYTEA   NOT NULL,
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL
);
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
CREATE UNIQUE INDEX claims_seq ON claims (seq) INCLUDE (id);
