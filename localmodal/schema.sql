-- web: who answers under which label
CREATE TABLE IF NOT EXISTS web_labels (
    label TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    method TEXT NOT NULL,
    live INTEGER NOT NULL,
    UNIQUE (function_id, method)
);
-- Function calls (calls.py)
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY,
    function_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    invocation INTEGER NOT NULL,
    parent_input_id TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS inputs (
    id TEXT PRIMARY KEY,
    call_id TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    message BLOB NOT NULL,
    retry_count INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    output BLOB,
    finished_at REAL
);
CREATE INDEX IF NOT EXISTS inputs_by_call ON inputs (call_id);
-- Apps, their versions, their functions and classes (apps.py, functions.py)
CREATE TABLE IF NOT EXISTS apps (
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL REFERENCES environments (name) ON UPDATE CASCADE ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    state INTEGER NOT NULL,
    created_at REAL NOT NULL,
    deployed_at REAL NOT NULL DEFAULT 0,
    stopped_at REAL NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS apps_by_name ON apps (environment, name);
CREATE TABLE IF NOT EXISTS app_versions (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    deployed_at REAL NOT NULL,
    published BLOB NOT NULL,
    rollback_version INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app_id, version)
);
CREATE TABLE IF NOT EXISTS definitions (
    id TEXT PRIMARY KEY,
    data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS functions (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    definition_id TEXT,
    base_id TEXT,
    params BLOB NOT NULL DEFAULT x'',
    options BLOB NOT NULL DEFAULT x'',
    pinned_version INTEGER NOT NULL DEFAULT 0,
    override BLOB NOT NULL DEFAULT x''
);
CREATE INDEX IF NOT EXISTS functions_by_app ON functions (app_id);
CREATE TABLE IF NOT EXISTS classes (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE
);
-- Containers, running and ended (tasks.py)
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    enqueued_at REAL NOT NULL,
    started_at REAL NOT NULL DEFAULT 0,
    finished_at REAL NOT NULL DEFAULT 0,
    snapshot_behavior INTEGER NOT NULL DEFAULT 0,
    result BLOB NOT NULL DEFAULT x''
);
CREATE INDEX IF NOT EXISTS tasks_by_app ON tasks (app_id, enqueued_at);

-- Single values (settings.py), environments (environments.py) and what named objects share (objects.py)
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS environments (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    web_suffix TEXT NOT NULL,
    builder TEXT,
    created_at REAL NOT NULL
);
-- Whatever lives in an environment refers to its name like this: it follows a rename, and goes when it goes.
CREATE TABLE IF NOT EXISTS objects (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    environment TEXT NOT NULL REFERENCES environments (name) ON UPDATE CASCADE ON DELETE CASCADE,
    name TEXT,
    app_id TEXT,
    created_at REAL NOT NULL,
    heartbeat_at REAL,
    UNIQUE (kind, environment, name)
);
-- Their contents (dicts.py, queues.py, secrets.py, volumes.py)
CREATE TABLE IF NOT EXISTS dict_entries (
    dict_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (dict_id, key)
);
CREATE TABLE IF NOT EXISTS queue_partitions (
    queue_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    partition BLOB NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (queue_id, partition)
);
CREATE TABLE IF NOT EXISTS queue_items (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id TEXT NOT NULL,
    partition BLOB NOT NULL,
    value BLOB NOT NULL,
    FOREIGN KEY (queue_id, partition) REFERENCES queue_partitions (queue_id, partition) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS queue_items_by_partition ON queue_items (queue_id, partition, position);
CREATE TABLE IF NOT EXISTS secret_values (
    secret_id TEXT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (secret_id, key)
);
CREATE TABLE IF NOT EXISTS secret_uses (
    secret_id TEXT PRIMARY KEY REFERENCES objects (id) ON DELETE CASCADE,
    used_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS volumes (
    id TEXT PRIMARY KEY REFERENCES objects (id) ON DELETE CASCADE,
    file_system INTEGER NOT NULL,
    commits INTEGER NOT NULL DEFAULT 0
);
-- Uploads (blobs.py) and mounts (mounts.py); the files themselves are named by their content (contents.py)
CREATE TABLE IF NOT EXISTS blobs (
    id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS mounts (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    used_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS mount_files (
    mount_id TEXT NOT NULL REFERENCES mounts (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    mode INTEGER NOT NULL,
    PRIMARY KEY (mount_id, path)
);
-- Images (images/library.py): what each was made from, and the layers it consists of
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY,
    recipe TEXT NOT NULL,
    definition BLOB NOT NULL,
    base_id TEXT NOT NULL,
    builder_version TEXT NOT NULL,
    app_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    started_at REAL NOT NULL,
    finished_at REAL,
    error TEXT,
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS images_by_task ON images (task_id);
CREATE TABLE IF NOT EXISTS image_files (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    layers TEXT NOT NULL,
    config TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (image_id, kind)
);
CREATE TABLE IF NOT EXISTS image_recipes (
    recipe TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS image_tags (
    environment TEXT NOT NULL,
    tag TEXT NOT NULL,
    image_id TEXT NOT NULL,
    revision_id TEXT NOT NULL,
    published_at REAL NOT NULL,
    PRIMARY KEY (environment, tag, revision_id)
);
-- Proxy tokens (proxy_tokens.py)
CREATE TABLE IF NOT EXISTS proxy_tokens (
    id TEXT PRIMARY KEY,
    secret_digest TEXT NOT NULL,
    name TEXT NOT NULL,
    scoped INTEGER NOT NULL,
    created_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS proxy_token_environments (
    token_id TEXT NOT NULL REFERENCES proxy_tokens (id) ON DELETE CASCADE,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    PRIMARY KEY (token_id, environment_id)
);
