

-- === get_many: one block, by a client that does not know its user
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.username = %s;

SELECT block_id, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), grade, max_grade, history_chain
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s);

-- === get_many: three blocks
SELECT block_id, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), grade, max_grade, history_chain
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s, %s, %s);

-- === get_scores
SELECT block_id, grade, max_grade, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s, %s);

-- === get_history
SELECT studentmodulehistory.student_id, studentmodulehistory.block_id, studentmodulehistory.revision,
    studentmodulehistory.created, studentmodulehistory.encoding, studentmodulehistory.body,
    studentmodulehistory.grade, studentmodulehistory.max_grade, studentmodulehistory.version,
    studentmodulehistory.actor_id
FROM studentmodulehistory
WHERE (studentmodulehistory.block_id = %s AND studentmodulehistory.student_id = %s)
ORDER BY studentmodulehistory.block_id ASC, studentmodulehistory.revision DESC
LIMIT 159;

-- === set_many: two blocks that nobody has written
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

INSERT IGNORE INTO learningcontext (id, key)
VALUES (<id>, %s);

SELECT id, key
FROM learningcontext
WHERE id IN (%s);

INSERT IGNORE INTO block (id, context_id, usage_key, block_type)
VALUES (<id>, %s, %s, %s), (<id>, %s, %s, %s);

START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 1, %s, %s, %s, NULL, NULL, 1), (%s, %s, 1, %s, %s, %s, NULL, NULL, 1);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 1, %s, 1, NULL, NULL, %s), (%s, %s, <id>, 1, %s, 1, NULL, NULL, %s);
COMMIT;

-- === set_many: update of one row, in the row cache
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s);
COMMIT;

-- === set_many: update of two rows, in the row cache
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2), (%s, %s, 2, %s, %s, %s, NULL, NULL, 2)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s), (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s);
COMMIT;

-- === set_many: two updates and a new row, looked up
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2), (%s, %s, 2, %s, %s, %s, NULL, NULL, 2)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1, VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1, VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1, VALUES(history_chain), history_chain),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 1, %s, %s, %s, NULL, NULL, 1);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s), (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s),
    (%s, %s, <id>, 1, %s, 1, NULL, NULL, %s);
COMMIT;

-- === set_many: a hot row, locked at first
BEGIN;

WITH locked AS (SELECT * FROM studentmodule WHERE student_id = %s AND block_id IN (%s) ORDER BY block_id FOR UPDATE)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1, VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1, VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1, VALUES(history_chain), history_chain),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s);

COMMIT;

-- === set_many: in the caller's transaction
BEGIN;

SAVEPOINT <savepoint>;

WITH locked AS (SELECT * FROM studentmodule WHERE student_id = %s AND block_id IN (%s) ORDER BY block_id FOR UPDATE)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1, VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1, VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1, VALUES(history_chain), history_chain),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: history in the outbox
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO historyoutbox (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 2, NULL, NULL, %s);
COMMIT;

-- === delete_many
-- Same as: set_many: update of two rows, in the row cache

-- === set_score
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain)
VALUES (%s, %s, 2, %s, %s, %s, 1.0, 2.0, 2)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 2, 1.0, 2.0, %s);
COMMIT;

-- === batch: two scopes, in the row cache
BEGIN;

INSERT INTO preferences (student_id, block_type, revision, state, created, modified)
VALUES (%s, %s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);

INSERT INTO userinfo (student_id, revision, state, created, modified)
VALUES (%s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);

COMMIT;

-- === set: scope preferences
SELECT block_type, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM preferences
WHERE student_id = %s AND block_type IN (%s);

START TRANSACTION;
INSERT INTO preferences (student_id, block_type, revision, state, created, modified)
VALUES (%s, %s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
COMMIT;

-- === set: scope user_info
SELECT revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM userinfo
WHERE student_id = %s;

START TRANSACTION;
INSERT INTO userinfo (student_id, revision, state, created, modified)
VALUES (%s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
COMMIT;

-- === set: scope user_state_summary
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified)
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN userstatesummary AS stored ON stored.block_id = asked.id;

START TRANSACTION;
INSERT INTO userstatesummary (block_id, revision, state, created, modified)
VALUES (%s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
COMMIT;

-- === iter_all_for_block
SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM studentmodule
WHERE block_id IN (%s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 1000;

SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

-- === iter_all_for_course: pages of two rows
SELECT block.id AS id, learningcontext.key AS context__key, block.usage_key AS usage_key
FROM block
INNER JOIN learningcontext ON (block.context_id = learningcontext.id)
WHERE (block.context_id = %s AND block.block_type = %s)
ORDER BY 1 ASC;

SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM studentmodule
WHERE block_id IN (%s, %s, %s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM studentmodule
WHERE block_id = %s AND student_id > %s AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM studentmodule
WHERE block_id IN (%s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;
