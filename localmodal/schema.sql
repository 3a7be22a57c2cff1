-- web: who answers under which label
CREATE TABLE IF NOT EXISTS web_labels (
    label TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    method TEXT NOT NULL,
    UNIQUE (function_id, method)
);
