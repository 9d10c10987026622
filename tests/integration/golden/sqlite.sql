-- The statements that SQLite gets for each operation of the client.
--
-- tests/integration/test_golden_sql.py compares them with the statements that are really sent. It runs on each database.
-- After a change of SQL run that test with GOLDEN_SQL=write in the environment: notes stay with their statements.
--
-- %s is a parameter. Names stand without quotes and without the prefix xblock_user_state_. White space is free.
-- The client of each operation knows its user, and no rows unless the heading says that they are in the row cache.
--
-- Tables that are built from parameters: new has the rows to write, asked the ids to look up. stored and old are rows
-- of the table; excluded is SQLite's name for the row that an upsert can't insert. column1 is the first of VALUES.

-- === get_many: one block, by a client that does not know its user
-- Finds the id of a user. Apart from state: users may live in another database. Once for each client.
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.username = %s;

-- Reads rows by primary key, with all columns that a later write needs.
SELECT block_id, revision, state, created, modified, grade, max_grade, history_chain, history_checksum
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s);

-- === get_many: three blocks
-- One parameter for each block.
SELECT block_id, revision, state, created, modified, grade, max_grade, history_chain, history_checksum
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s, %s, %s);

-- === get_encoded_rows: two blocks, and a row of each other scope
-- Reads rows of all scopes: the learner's own, and those that all learners share.
-- The first part gives the union its types; the number is the table's.
SELECT 0, block_id, NULL, revision, state, created, modified, grade, max_grade, history_chain, history_checksum
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s, %s)
UNION ALL
SELECT 1, NULL, block_type, revision, state, created, modified, NULL, NULL, NULL, NULL
FROM preferences
WHERE student_id = %s AND block_type IN (%s)
UNION ALL
SELECT 2, NULL, NULL, revision, state, created, modified, NULL, NULL, NULL, NULL
FROM userinfo
WHERE student_id = %s
UNION ALL
SELECT 3, block_id, NULL, revision, state, created, modified, NULL, NULL, NULL, NULL
FROM userstatesummary
WHERE block_id IN (%s);

-- === get_scores
-- Reads scores by primary key. A score's time is that of the row's last change.
SELECT block_id, grade, max_grade, modified, created
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s, %s);

-- === get_latest: three rows
-- Reads the learner's rows, neighbours in the primary key, and sorts them: no index has a time.
SELECT block_id, state, modified, revision
FROM studentmodule
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
SELECT block_id, state, modified, revision
FROM studentmodule
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
SELECT student_id, block_id, revision, created, encoding, body, grade, max_grade, version, actor_id
FROM studentmodulehistory
WHERE student_id = %s AND block_id = %s
ORDER BY block_id, revision DESC
LIMIT %s;

-- === set_many: two blocks that nobody has written
-- Every write is a transaction that begins with SQLite's one lock, so it loses no race. There are no round trips to save.

BEGIN IMMEDIATE;

-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM (SELECT column1 AS id FROM (VALUES (%s), (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- Registers the course. Courses and blocks that exist are skipped.
INSERT INTO learningcontext (id, key)
VALUES (%s, %s)
ON CONFLICT DO NOTHING;

-- Compares the course's key with the stored one: blocks of a course whose id has another key are not registered.
SELECT id, key
FROM learningcontext
WHERE id IN (%s);

-- Registers the blocks. Fewer rows than blocks mean that an id is taken; the client then reads the registry.
INSERT INTO block (id, context_id, usage_key, block_type)
VALUES (%s, %s, %s, %s), (%s, %s, %s, %s)
ON CONFLICT DO NOTHING;

-- Compare-and-set by upsert: SQLite 3.31 has no UPDATE ... FROM. The first WHERE lets new rows and rows as expected
-- through; the last WHERE keeps a new row from replacing a stored one. A row that was skipped is missing in the count,
-- which tells a lost race without an error.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain, history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history of the same change.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of one row, in the row cache
BEGIN IMMEDIATE;

-- Compare-and-set of a cached row, which is matched by its time of creation too: a row that was deleted and created
-- again may have the same revision.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified,
    grade = excluded.grade, max_grade = excluded.max_grade, history_chain = excluded.history_chain,
    history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history of the same change.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of two rows, in the row cache
BEGIN IMMEDIATE;

-- The same with two rows.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified,
    grade = excluded.grade, max_grade = excluded.max_grade, history_chain = excluded.history_chain,
    history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history of the same changes.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of two rows, looked up
BEGIN IMMEDIATE;

-- The commonest write of a request that has not read the rows. Lookup of the rows and of the registry.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM (SELECT column1 AS id FROM (VALUES (%s), (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- The lookup was in this transaction, so the revision is enough to match.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain, history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history of the same changes.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: two updates and a new row, looked up
BEGIN IMMEDIATE;

-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM (SELECT column1 AS id FROM (VALUES (%s), (%s), (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- Updates and inserts in one statement: rows of revision 1 are new. The lookup was in this transaction, so the revision
-- is enough to match.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s),
        (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain, history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history of the same changes.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s),
    (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: nothing changes
-- The one lock keeps all writers away, so the lookup is enough.

BEGIN IMMEDIATE;

-- Lookup of the rows and of the registry. The rows have these fields already.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM (SELECT column1 AS id FROM (VALUES (%s), (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

COMMIT;

-- === set_many: a hot row, locked at first
-- SQLite has no row locks: a hot row is written like any other, but the row cache is not asked.

BEGIN IMMEDIATE;

-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM (SELECT column1 AS id FROM (VALUES (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- Compare-and-set.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain, history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history of the same change.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: in the caller's transaction
-- A lost race rolls back to the savepoint, and the caller's earlier work stays.

BEGIN IMMEDIATE;

-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM (SELECT column1 AS id FROM (VALUES (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

SAVEPOINT <savepoint>;

-- Compare-and-set.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain, history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history of the same change. The caller commits.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: in the caller's transaction, in the row cache
BEGIN IMMEDIATE;

SAVEPOINT <savepoint>;

-- As outside a transaction. It may change some rows of several, and the entries may fail: hence the savepoint.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified,
    grade = excluded.grade, max_grade = excluded.max_grade, history_chain = excluded.history_chain,
    history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The entries.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: history in the outbox
BEGIN IMMEDIATE;

-- As without an outbox.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified,
    grade = excluded.grade, max_grade = excluded.max_grade, history_chain = excluded.history_chain,
    history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- The history goes to the outbox. The relay ships it after the commit.
INSERT INTO historyoutbox (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === delete_many
-- A deleted state is the text {}, a new revision like any other.
-- Same as: set_many: update of two rows, in the row cache

-- === delete_many: looked up
BEGIN IMMEDIATE;

-- Lookup without texts: the start of a text tells a deleted state, which stays as it is, from any other.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, substr(stored.state, 1, 3), stored.created,
    stored.modified, stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM (SELECT column1 AS id FROM (VALUES (%s), (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- As an update.
INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain, history_checksum)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain, column9 AS history_checksum
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain, history_checksum = excluded.history_checksum
WHERE old.revision = excluded.revision - 1;

-- One entry for each row.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_score
-- Score and state are columns of one row.
-- Same as: set_many: update of one row, in the row cache

-- === replace
-- A new text of the state is an update as any other.
-- Same as: set_many: update of one row, in the row cache

-- === batch: two scopes, in the row cache
BEGIN IMMEDIATE;

-- Compare-and-set, matched by block type. This scope has no history.
INSERT INTO preferences AS old (student_id, block_type, revision, state, created, modified)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_type, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified
    FROM (VALUES (%s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM preferences AS old
    WHERE old.student_id = %s AND old.block_type = new.block_type AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_type)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified
WHERE old.revision = excluded.revision - 1;

-- Compare-and-set. The learner alone is the key.
INSERT INTO userinfo AS old (student_id, revision, state, created, modified)
SELECT %s, new.*
FROM (
    SELECT column1 AS revision, column2 AS state, column3 AS created, column4 AS modified
    FROM (VALUES (%s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM userinfo AS old
    WHERE old.student_id = %s AND old.created = new.created AND old.revision = new.revision - 1
)
ON CONFLICT (student_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified
WHERE old.revision = excluded.revision - 1;

COMMIT;

-- === set: scope preferences
BEGIN IMMEDIATE;

-- Reads the row. Block types are not registered, so there is no lookup.
SELECT block_type, revision, state, created, modified
FROM preferences
WHERE student_id = %s AND block_type IN (%s);

-- Compare-and-set after a read: the revision is enough to match.
INSERT INTO preferences AS old (student_id, block_type, revision, state, created, modified)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_type, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified
    FROM (VALUES (%s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM preferences AS old
    WHERE old.student_id = %s AND old.block_type = new.block_type AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_type)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified
WHERE old.revision = excluded.revision - 1;

COMMIT;

-- === set: scope user_info
BEGIN IMMEDIATE;

-- Reads the row. The learner alone is the key.
SELECT revision, state, created, modified
FROM userinfo
WHERE student_id = %s;

-- Compare-and-set.
INSERT INTO userinfo AS old (student_id, revision, state, created, modified)
SELECT %s, new.*
FROM (
    SELECT column1 AS revision, column2 AS state, column3 AS created, column4 AS modified
    FROM (VALUES (%s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM userinfo AS old
    WHERE old.student_id = %s AND old.revision = new.revision - 1
)
ON CONFLICT (student_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified
WHERE old.revision = excluded.revision - 1;

COMMIT;

-- === set: scope user_state_summary
BEGIN IMMEDIATE;

-- Lookup as for user_state, but no learner: all learners share the row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified
FROM (SELECT column1 AS id FROM (VALUES (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN userstatesummary AS stored ON stored.block_id = asked.id;

-- Compare-and-set.
INSERT INTO userstatesummary AS old (block_id, revision, state, created, modified)
SELECT new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified
    FROM (VALUES (%s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM userstatesummary AS old
    WHERE old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified
WHERE old.revision = excluded.revision - 1;

COMMIT;

-- === set: one row without history in the caller's transaction
BEGIN IMMEDIATE;

-- One row is changed or not, and no history follows, so a lost race leaves nothing to roll back.
INSERT INTO userstatesummary AS old (block_id, revision, state, created, modified)
SELECT new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified
    FROM (VALUES (%s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM userstatesummary AS old
    WHERE old.block_id = new.block_id AND old.created = new.created AND old.revision = new.revision - 1
)
ON CONFLICT (block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified
WHERE old.revision = excluded.revision - 1;

COMMIT;

-- === iter_all_for_block
-- A page of rows of all learners, in the order of the index (block_id, student_id). `<> {}` leaves out deleted states.
-- The page is not full, so it is the last one.
SELECT block_id, student_id, state, modified, revision
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
SELECT block_id, student_id, state, modified, revision
FROM studentmodule
WHERE block_id IN (%s, %s, %s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

-- Names that this iteration has not met yet. Later pages have the same learner, so they ask for none.
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

-- The rest of the last block, after the last learner.
SELECT block_id, student_id, state, modified, revision
FROM studentmodule
WHERE block_id = %s AND student_id > %s AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

-- The next page, over the blocks after the last one.
SELECT block_id, student_id, state, modified, revision
FROM studentmodule
WHERE block_id IN (%s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;
