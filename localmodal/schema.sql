-- web: who answers under which label
CREATE TABLE IF NOT EXISTS web_labels (
    label TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    method TEXT NOT NULL,
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
