-- The statements that MariaDB or MySQL gets for each operation of the client.
--
-- tests/integration/test_golden_sql.py compares them with the statements that are really sent. It runs on MariaDB.
-- After a change of SQL run that test with GOLDEN_SQL=write in the environment: notes stay with their statements.
--
-- %s is a parameter. Names stand without quotes and without the prefix xblock_user_state_. White space is free.
-- The client of each operation knows its user, and no rows unless the heading says that they are in the row cache.
-- <id> is a block's id, which stands in the statement's text.
--
-- A statement with START TRANSACTION and COMMIT is one packet of several statements.

-- === get_many: one block, by a client that does not know its user
-- Finds the id of a user. Apart from state: users may live in another database. Once for each client.
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.username = %s;

-- Reads rows by primary key, with all columns that a later write needs. Times are selected as microseconds: the driver
-- and Django would parse text in Python. FORCE INDEX makes the server go to each key: it takes a learner for a few rows,
-- and would read all of them. With FOR UPDATE it would lock them, too.
SELECT block_id, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), grade, max_grade, history_chain, history_checksum
FROM studentmodule FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_id IN (%s);

-- === get_many: three blocks
-- One parameter for each block.
SELECT block_id, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), grade, max_grade, history_chain, history_checksum
FROM studentmodule FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_id IN (%s, %s, %s);

-- === get_encoded_rows: two blocks, and a row of each other scope
-- Reads rows of all scopes: the learner's own, and those that all learners share.
-- The first part gives the union its types; the number is the table's.
SELECT 0, block_id, NULL, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), grade, max_grade, history_chain, history_checksum
FROM studentmodule FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_id IN (%s, %s)
UNION ALL
SELECT 1, NULL, block_type, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), NULL, NULL, NULL, NULL
FROM preferences FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_type IN (%s)
UNION ALL
SELECT 2, NULL, NULL, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), NULL, NULL, NULL, NULL
FROM userinfo FORCE INDEX (PRIMARY)
WHERE student_id = %s
UNION ALL
SELECT 3, block_id, NULL, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), NULL, NULL, NULL, NULL
FROM userstatesummary FORCE INDEX (PRIMARY)
WHERE block_id IN (%s);

-- === get_scores
-- Reads scores by primary key. A score's time is that of the row's last change.
SELECT block_id, grade, max_grade, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created)
FROM studentmodule FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_id IN (%s, %s);

-- === get_latest: three rows
-- Reads the learner's rows, neighbours in the primary key, and sorts them: no index has a time.
SELECT block_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), revision
FROM studentmodule FORCE INDEX (PRIMARY)
WHERE student_id = %s
ORDER BY modified DESC, block_id
LIMIT 3;

-- Reads their keys, from the registry alone.
SELECT block.id AS id, learningcontext.key AS context__key, block.usage_key AS usage_key
FROM block
INNER JOIN learningcontext ON (block.context_id = learningcontext.id)
WHERE block.id IN (%s, %s)
ORDER BY 1 ASC;

-- === get_latest: in one course, of a learner by id
-- Reads the blocks of the course. An id needs no statement for the user.
SELECT block.id AS id, learningcontext.key AS context__key, block.usage_key AS usage_key
FROM block
INNER JOIN learningcontext ON (block.context_id = learningcontext.id)
WHERE block.context_id = %s
ORDER BY 1 ASC;

-- Reads the learner's rows in these blocks.
SELECT block_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), revision
FROM studentmodule FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_id IN (%s, %s)
ORDER BY modified DESC, block_id
LIMIT 3;

-- === find_blocks
-- Reads the registry alone, by the index of the usage key. An old-style key is in each run of its course.
SELECT block.id AS id, learningcontext.key AS context__key, block.usage_key AS usage_key
FROM block
INNER JOIN learningcontext ON (block.context_id = learningcontext.id)
WHERE block.usage_key = %s
ORDER BY 1 ASC;

-- === get_history
-- Reads a page of the history, newest first: a range of the primary key, backwards. A page has 128 entries, and up to
-- 31 more: as many as a chain of deltas may take back to a full entry.
SELECT student_id, block_id, revision, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created), encoding, body, grade,
    max_grade, version, actor_id
FROM studentmodulehistory FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_id = %s
ORDER BY block_id, revision DESC
LIMIT %s;

-- === set_many: two blocks that nobody has written
-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
-- The ids are one JSON parameter: a union of a hundred SELECTs takes the server much longer to plan.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain,
    stored.history_checksum
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- Registers the course, in autocommit: new blocks must not stay locked while a state is written. IGNORE skips what
-- exists.
INSERT IGNORE INTO learningcontext (id, key)
VALUES (<id>, %s);

-- Compares the course's key with the stored one: blocks of a course whose id has another key are not registered.
SELECT id, key
FROM learningcontext
WHERE id IN (%s);

-- Registers the blocks. Fewer rows than blocks mean that another process was faster or that an id is taken; the client
-- then reads the registry.
INSERT IGNORE INTO block (id, context_id, usage_key, block_type)
VALUES (<id>, %s, %s, %s), (<id>, %s, %s, %s);

-- One packet, one round trip. The server stops at the first statement that fails, and the client rolls back.
-- Numbers stand in the text, because the driver takes long for each parameter. A row that another process inserted
-- first is a duplicate key error: a lost race.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 1, %s, %s, %s, NULL, NULL, 1, <id>), (%s, %s, 1, %s, %s, %s, NULL, NULL, 1, <id>);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 1, %s, 1, NULL, NULL, %s), (%s, %s, <id>, 1, %s, 1, NULL, NULL, %s);
COMMIT;

-- === set_many: update of one row, in the row cache
-- One packet, one round trip. The server stops at the first statement that fails, and the client rolls back.
-- The update is an upsert that meets its rows, twice as fast as an UPDATE joined to a union of SELECTs. Each column is
-- set only if the row is as expected. The server counts 2 for a changed row, and at most 1 for a row that it leaves, or
-- inserts because it was deleted. Columns are set from left to right, so revision, which all compare, is last.
-- The SELECT fails with error 1242 (a scalar subquery with two rows) unless the count is 2 for each row: SQL has no
-- RAISE outside stored procedures. It ends the packet before the history, and the client takes 1242 for a lost race.
-- A cached row is matched by its time of creation too: a row that was deleted and created again may have the same
-- revision.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s);
COMMIT;

-- === set_many: update of two rows, in the row cache
-- The same with two rows, in the order of their keys, so that two writers can't deadlock.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>), (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s), (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s);
COMMIT;

-- === set_many: update of two rows, looked up
-- The commonest write of a request that has not read the rows. Lookup of the rows and of the registry.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain,
    stored.history_checksum
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- The update, its check and the history in one packet. The lookup was a moment ago in this call, so the revision is
-- enough to match.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>), (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s), (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s);
COMMIT;

-- === set_many: two updates and a new row, looked up
-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain,
    stored.history_checksum
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- The update and its check, then the new row. The lookup was a moment ago in this call, so the revision is enough to
-- match. The columns that do not change, such as created, are set too.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>), (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 1, %s, %s, %s, NULL, NULL, 1, <id>);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s), (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s),
    (%s, %s, <id>, 1, %s, 1, NULL, NULL, %s);
COMMIT;

-- === set_many: nothing changes
-- Lookup, without a lock.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain,
    stored.history_checksum
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- Reads the rows once more before it concludes that nothing changes: with a lock, which every proxy sends to the primary.
-- In autocommit, so that the lock ends with the statement.
SELECT block_id, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), grade, max_grade, history_chain, history_checksum
FROM studentmodule FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_id IN (%s, %s)
ORDER BY block_id
FOR UPDATE;

-- === set_many: a hot row, locked at first
-- A race for this row was lost within the last second, so the first attempt takes its lock.

BEGIN;

-- Lookup with a lock on the learner's rows, in the order of their keys. The lock stands in a CTE, because registry rows
-- belong to all learners, and MariaDB has no FOR UPDATE OF.
WITH locked AS (
    SELECT *
    FROM studentmodule FORCE INDEX (PRIMARY)
    WHERE student_id = %s AND block_id IN (%s)
    ORDER BY block_id
    FOR UPDATE
)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain,
    stored.history_checksum
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

-- The update, in statements instead of a packet. The client compares the row count; new rows can't be locked, so the
-- compare-and-set stays.
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1, VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1, VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1, VALUES(history_chain), history_chain),
    history_checksum = IF(revision = VALUES(revision) - 1, VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);

-- The history of the same change.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s);

COMMIT;

-- === set_many: in the caller's transaction
-- Rows are locked at first. A lost race rolls back to the savepoint, and the caller's earlier work stays.

BEGIN;

-- As for a hot row. A locking read shows the newest commit; a plain one would show the snapshot of REPEATABLE READ.
WITH locked AS (
    SELECT *
    FROM studentmodule FORCE INDEX (PRIMARY)
    WHERE student_id = %s AND block_id IN (%s)
    ORDER BY block_id
    FOR UPDATE
)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain,
    stored.history_checksum
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

SAVEPOINT <savepoint>;

-- As for a hot row.
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1, VALUES(state), state),
    created = IF(revision = VALUES(revision) - 1, VALUES(created), created),
    modified = IF(revision = VALUES(revision) - 1, VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1, VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1, VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1, VALUES(history_chain), history_chain),
    history_checksum = IF(revision = VALUES(revision) - 1, VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1, VALUES(revision), revision);

-- As for a hot row. The caller commits.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: in the caller's transaction, in the row cache
BEGIN;

SAVEPOINT <savepoint>;

-- As outside a transaction. It would insert a row that was deleted meanwhile: hence the savepoint.
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);

-- The entries.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: history in the outbox
-- As without an outbox, but for the table that takes the history. The relay ships its rows after the commit.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO historyoutbox (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, NULL, NULL, %s);
COMMIT;

-- === delete_many
-- A deleted state is the text {}, a new revision like any other. Its entry is this text, in the plain encoding (0).
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 1, <id>), (%s, %s, 2, %s, %s, %s, NULL, NULL, 1, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 0, NULL, NULL, %s), (%s, %s, <id>, 2, %s, 0, NULL, NULL, %s);
COMMIT;

-- === delete_many: looked up
-- Lookup without texts: the start of a text tells a deleted state, which stays as it is, from any other.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, substr(stored.state, 1, 3),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified), stored.grade, stored.max_grade, stored.history_chain,
    stored.history_checksum
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- As an update that was looked up.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, NULL, NULL, 1, <id>), (%s, %s, 2, %s, %s, %s, NULL, NULL, 1, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 0, NULL, NULL, %s), (%s, %s, <id>, 2, %s, 0, NULL, NULL, %s);
COMMIT;

-- === set_score
-- As an update. Score and state are columns of one row.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, %s, %s, %s, 1.0, 2.0, 2, <id>)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 4, 1.0, 2.0, %s);
COMMIT;

-- === replace
-- One packet: the upsert of the row, the check that it was as expected, and its history. The state becomes NULL.
START TRANSACTION;
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, 2, NULL, %s, %s, NULL, NULL, 0, NULL)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(grade), grade),
    max_grade = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(max_grade), max_grade),
    history_chain = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(history_chain),
    history_chain), history_checksum = IF(revision = VALUES(revision) - 1 AND created = VALUES(created),
    VALUES(history_checksum), history_checksum),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, <id>, 2, %s, 0, NULL, NULL, NULL);
COMMIT;

-- === batch: two scopes, in the row cache
-- A packet has the rows of one table, so a transaction is around two statements.

BEGIN;

-- Compare-and-set, matched by block type. This scope has no history.
INSERT INTO preferences (student_id, block_type, revision, state, created, modified)
VALUES (%s, %s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);

-- Compare-and-set. The learner alone is the key.
INSERT INTO userinfo (student_id, revision, state, created, modified)
VALUES (%s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);

COMMIT;

-- === set: scope preferences
-- Reads the row. Block types are not registered, so there is no lookup.
SELECT block_type, revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM preferences FORCE INDEX (PRIMARY)
WHERE student_id = %s AND block_type IN (%s);

-- Compare-and-set after a read: the revision is enough to match.
START TRANSACTION;
INSERT INTO preferences (student_id, block_type, revision, state, created, modified)
VALUES (%s, %s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
COMMIT;

-- === set: scope user_info
-- Reads the row. The learner alone is the key.
SELECT revision, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified)
FROM userinfo FORCE INDEX (PRIMARY)
WHERE student_id = %s;

-- Compare-and-set.
START TRANSACTION;
INSERT INTO userinfo (student_id, revision, state, created, modified)
VALUES (%s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
COMMIT;

-- === set: scope user_state_summary
-- Lookup as for user_state, but no learner: all learners share the row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.created),
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', stored.modified)
FROM JSON_TABLE(%s, '$[*]' COLUMNS (id bigint PATH '$')) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN userstatesummary AS stored ON stored.block_id = asked.id;

-- Compare-and-set.
START TRANSACTION;
INSERT INTO userstatesummary (block_id, revision, state, created, modified)
VALUES (%s, 2, %s, %s, %s)
ON DUPLICATE KEY UPDATE state = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(state),
    state), modified = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(modified), modified),
    revision = IF(revision = VALUES(revision) - 1 AND created = VALUES(created), VALUES(revision), revision);
SELECT (SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) AS two WHERE ROW_COUNT() <> %s);
COMMIT;

-- === set: one row without history in the caller's transaction
BEGIN;

-- It inserts nothing, and no history follows, so a lost race leaves nothing to roll back.
UPDATE userstatesummary
SET revision = %s, state = %s, modified = %s
WHERE block_id = %s AND created = %s AND revision = %s;

COMMIT;

-- === iter_all_for_block
-- A page of rows of all learners, in the order of the index (block_id, student_id). `<> {}` leaves out deleted states.
-- The page is not full, so it is the last one.
SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), revision
FROM studentmodule
WHERE block_id IN (%s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 1000;

-- Names of the learners of a page. Apart from state: users may live in another database.
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

-- === iter_all_for_course: pages of two rows
-- The blocks of a course, with their keys. Later pages name blocks by id only.
SELECT block.id AS id, learningcontext.key AS context__key, block.usage_key AS usage_key
FROM block
INNER JOIN learningcontext ON (block.context_id = learningcontext.id)
WHERE (block.context_id = %s AND block.block_type = %s)
ORDER BY 1 ASC;

-- The first page over all blocks of the course. It is full, so it may end within a block.
SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), revision
FROM studentmodule
WHERE block_id IN (%s, %s, %s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

-- Names that this iteration has not met yet. Later pages have the same learner, so they ask for none.
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

-- The rest of the last block, after the last learner. Two conditions instead of (block_id, student_id) > (%s, %s), for
-- which the index would not be used.
SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), revision
FROM studentmodule
WHERE block_id = %s AND student_id > %s AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

-- The next page, over the blocks after the last one.
SELECT block_id, student_id, state, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', modified), revision
FROM studentmodule
WHERE block_id IN (%s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;
