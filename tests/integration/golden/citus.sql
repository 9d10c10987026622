-- The statements that PostgreSQL gets for each operation of the client where Citus distributes the tables by the learner.
--
-- Citus sends a statement whole to the server of the learner that every part of it names. It keeps copies of block and
-- learningcontext on every server. userstatesummary and auth_user are on one.
--
-- tests/integration/test_golden_sql.py compares them with the statements that are really sent. It runs on PostgreSQL,
-- with partitions in place of Citus's shards. After a change of SQL run that test with GOLDEN_SQL=write
-- in the environment: notes stay with their statements.
--
-- %s is a parameter. Names stand without quotes and without the prefix xblock_user_state_. White space is free.
-- The client of each operation knows its user, and no rows unless the heading says that they are in the row cache.
--
-- Tables that are built from parameters: new has the rows to write, asked the ids to look up. stored and old are rows
-- of the table.

-- === get_many: one block, by a client that does not know its user
-- Finds the id of a user. Apart from state: users may live in another database. Once for each client.
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.username = %s;

-- Reads rows by primary key, with all columns that a later write needs. Citus sees the learner. The query of a
-- parameter alone hides the ids from the planner, which looks each of them up then, also for a learner who came after the
-- newest statistics. Times are selected as microseconds: Django would parse text in Python.
SELECT block_id, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, grade, max_grade, history_chain, history_checksum
FROM studentmodule
WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[]);

-- === get_many: three blocks
-- The same statement for any number of blocks.
SELECT block_id, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, grade, max_grade, history_chain, history_checksum
FROM studentmodule
WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[]);

-- === get_encoded_rows: two blocks, and a row of each other scope
-- Reads rows of all scopes of the learner.
-- The first part gives the union its types; the number is the table's.
SELECT 0, block_id, NULL, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, grade, max_grade, history_chain, history_checksum
FROM studentmodule
WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[])
UNION ALL
SELECT 1, NULL, block_type, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, NULL, NULL, NULL, NULL
FROM preferences
WHERE student_id = %s AND block_type = ANY((SELECT string_to_array(%s, %s, %s))::text[])
UNION ALL
SELECT 2, NULL, NULL, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, NULL, NULL, NULL, NULL
FROM userinfo
WHERE student_id = %s;

-- Reads the rows that all learners share, apart: they are on another server.
SELECT block_id, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint
FROM userstatesummary
WHERE block_id = ANY((SELECT %s::bigint[])::bigint[]);

-- === get_scores
-- Reads scores by primary key. A score's time is that of the row's last change.
SELECT block_id, grade, max_grade, (extract(epoch FROM modified) * 1000000)::bigint,
    (extract(epoch FROM created) * 1000000)::bigint
FROM studentmodule
WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[]);

-- === get_latest: three rows
-- Reads the learner's rows, neighbours in the primary key, and sorts them: no index has a time.
SELECT block_id, state, (extract(epoch FROM modified) * 1000000)::bigint, revision
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
SELECT block_id, state, (extract(epoch FROM modified) * 1000000)::bigint, revision
FROM studentmodule
WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[])
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
SELECT student_id, block_id, revision, (extract(epoch FROM created) * 1000000)::bigint, encoding, body, grade,
    max_grade, version, actor_id
FROM studentmodulehistory
WHERE student_id = %s AND block_id = %s
ORDER BY block_id, revision DESC
LIMIT %s;

-- === set_many: two blocks that nobody has written
-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- Registers the course and the blocks, in autocommit: new blocks must not stay locked while a state is written.
-- All parts see one snapshot, so `learningcontext` does not show the row that `inserted` adds, and `valid` joins both.
-- A course that is stored under another key is not valid, and its blocks are skipped. Fewer rows than blocks mean that
-- another process was faster or that an id is taken; the client then reads the registry.
WITH inserted AS (
    INSERT INTO learningcontext (id, key)
    SELECT new.*
    FROM unnest((SELECT %s::bigint[]), string_to_array(%s, %s, %s)) AS new (id, key)
    ON CONFLICT DO NOTHING
    RETURNING id
),
valid AS (
    SELECT id
    FROM inserted
    UNION ALL
    SELECT new.id
    FROM learningcontext AS parent, unnest((SELECT %s::bigint[]), string_to_array(%s, %s, %s)) AS new (id, key)
    WHERE parent.id = new.id AND parent.key = new.key
)
INSERT INTO block (id, context_id, usage_key, block_type)
SELECT new.*
FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), string_to_array(%s, %s, %s)) AS new (id,
    context_id, usage_key, block_type)
WHERE new.context_id IN (SELECT id FROM valid)
ON CONFLICT DO NOTHING;

BEGIN;

-- New rows. Each names the learner, so one server gets them; Citus runs the parts of INSERT .. SELECT apart. A row that
-- another process inserted first is a duplicate key error: a lost race.
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s);

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of one row, in the row cache
BEGIN;

-- Compare-and-set. The update matches the revision that was read, and the time of creation: a row that was deleted and
-- created again may have the same revision. If no row is updated, the race is lost, and the
-- transaction rolls back. A single row needs no lock before its update.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade, max_grade = new.max_grade,
    history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
    AND old.revision = new.revision - 1;

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of two rows, in the row cache
BEGIN;

-- Compare-and-set of several rows. `locked` locks them in the order of their keys before the first is written: an
-- UPDATE locks rows in the order of its plan, and two of them could deadlock. FOR UPDATE and count() need two levels.
-- No row is updated unless all of them were locked.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
),
locked AS (
    SELECT count(*) = (SELECT count(*) FROM new WHERE new.revision > 1) AS is_every
    FROM (
        SELECT 1
        FROM studentmodule AS old, new
        WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
            AND old.revision = new.revision - 1
        ORDER BY new.block_id
        FOR UPDATE OF old
    ) AS old
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade, max_grade = new.max_grade,
    history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
    AND old.revision = new.revision - 1 AND (SELECT is_every FROM locked);

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of two rows, looked up
-- The commonest write of a request that has not read the rows. Lookup of the rows and of the registry.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

BEGIN;

-- Locks the rows in key order and updates them, if all of them are as they were looked up.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
),
locked AS (
    SELECT count(*) = (SELECT count(*) FROM new WHERE new.revision > 1) AS is_every
    FROM (
        SELECT 1
        FROM studentmodule AS old, new
        WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
            AND old.revision = new.revision - 1
        ORDER BY new.block_id
        FOR UPDATE OF old
    ) AS old
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade, max_grade = new.max_grade,
    history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
    AND old.revision = new.revision - 1 AND (SELECT is_every FROM locked);

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: two updates and a new row, looked up
-- Lookup: one row for each id. The first join tells whether the block is registered, and under which key; the second
-- gives the learner's row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

BEGIN;

-- Updates before insertions, in every dialect. The lookup was a moment ago in this call, so the
-- revision is enough to match. The columns that do not change, such as created, are set too.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
),
locked AS (
    SELECT count(*) = (SELECT count(*) FROM new WHERE new.revision > 1) AS is_every
    FROM (
        SELECT 1
        FROM studentmodule AS old, new
        WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
            AND old.revision = new.revision - 1
        ORDER BY new.block_id
        FOR UPDATE OF old
    ) AS old
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade, max_grade = new.max_grade,
    history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
    AND old.revision = new.revision - 1 AND (SELECT is_every FROM locked);

-- New rows. Each names the learner, so one server gets them; Citus runs the parts of INSERT .. SELECT apart. A row that
-- another process inserted first is a duplicate key error: a lost race.
INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade, history_chain,
    history_checksum)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s);

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s),
    (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: nothing changes
-- Lookup, without a lock.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

-- Reads the rows once more before it concludes that nothing changes: with a lock, which every proxy sends to the primary.
-- In autocommit, so that the lock ends with the statement.
SELECT block_id, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, grade, max_grade, history_chain, history_checksum
FROM studentmodule
WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[])
ORDER BY block_id
FOR UPDATE;

-- === set_many: a hot row, locked at first
-- A race for this row was lost within the last second, so the first attempt takes its lock.

BEGIN;

-- Lookup with a lock on the learner's rows, in the order of their keys. The lock stands in a CTE, because registry rows
-- belong to all learners, and PostgreSQL refuses FOR UPDATE on the nullable side of a join.
WITH locked AS (
    SELECT *
    FROM studentmodule
    WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[])
    ORDER BY block_id
    FOR UPDATE
)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

-- As without a lock: new rows can't be locked, so the compare-and-set stays.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, created = new.created, modified = new.modified, grade = new.grade,
    max_grade = new.max_grade, history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1;

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: in the caller's transaction
-- Rows are locked at first. A lost race rolls back to the savepoint, and the caller's earlier work stays.

BEGIN;

SAVEPOINT <savepoint>;

-- As for a hot row.
WITH locked AS (
    SELECT *
    FROM studentmodule
    WHERE student_id = %s AND block_id = ANY((SELECT %s::bigint[])::bigint[])
    ORDER BY block_id
    FOR UPDATE
)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

-- As for a hot row. The caller commits.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, created = new.created, modified = new.modified, grade = new.grade,
    max_grade = new.max_grade, history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1;

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: in the caller's transaction, in the row cache
BEGIN;

SAVEPOINT <savepoint>;

-- As outside a transaction. A lost race, or an error such as a serialization failure, rolls back to
-- the savepoint.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade, max_grade = new.max_grade,
    history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
    AND old.revision = new.revision - 1;

-- History entries, on the same server.
INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: history in the outbox
BEGIN;

-- As without an outbox, but for the table that takes the history. The relay ships its rows after the commit.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade, max_grade = new.max_grade,
    history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
    AND old.revision = new.revision - 1;

-- History entries, on the same server.
INSERT INTO historyoutbox (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === delete_many
-- A deleted state is the text {}, a new revision like any other.
-- Same as: set_many: update of two rows, in the row cache

-- === delete_many: looked up
-- Lookup without texts: the start of a text tells a deleted state, which stays as it is, from any other.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, substr(stored.state, 1, 3),
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain, stored.history_checksum
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

BEGIN;

-- As an update that was looked up.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[], %s::smallint[],
        %s::integer[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain,
        history_checksum)
),
locked AS (
    SELECT count(*) = (SELECT count(*) FROM new WHERE new.revision > 1) AS is_every
    FROM (
        SELECT 1
        FROM studentmodule AS old, new
        WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
            AND old.revision = new.revision - 1
        ORDER BY new.block_id
        FOR UPDATE OF old
    ) AS old
) UPDATE studentmodule AS old
SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade, max_grade = new.max_grade,
    history_chain = new.history_chain, history_checksum = new.history_checksum
FROM new
WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
    AND old.revision = new.revision - 1 AND (SELECT is_every FROM locked);

-- History entries, on the same server.
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
-- Two statements, in a transaction of one server.

BEGIN;

-- Compare-and-set, matched by block type. This scope has no history.
WITH new AS (
    SELECT *
    FROM unnest((
        SELECT string_to_array(%s, %s, %s)), %s::bigint[], string_to_array(%s, %s, %s),
            %s::timestamp with time zone[], %s::timestamp with time zone[]
    ) AS new (block_type, revision, state, created, modified)
) UPDATE preferences AS old
SET revision = new.revision, state = new.state, modified = new.modified
FROM new
WHERE old.student_id = %s AND old.block_type = new.block_type AND old.created = new.created
    AND old.revision = new.revision - 1;

-- Compare-and-set. The learner alone is the key.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[]) AS new (revision, state, created, modified)
) UPDATE userinfo AS old
SET revision = new.revision, state = new.state, modified = new.modified
FROM new
WHERE old.student_id = %s AND old.created = new.created AND old.revision = new.revision - 1;

COMMIT;

-- === set: scope preferences
-- Reads the row. Block types are not registered, so there is no lookup. They travel as one text with separators.
SELECT block_type, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint
FROM preferences
WHERE student_id = %s AND block_type = ANY((SELECT string_to_array(%s, %s, %s))::text[]);

-- Compare-and-set after a read: the revision is enough to match.
WITH new AS (
    SELECT *
    FROM unnest((
        SELECT string_to_array(%s, %s, %s)), %s::bigint[], string_to_array(%s, %s, %s),
            %s::timestamp with time zone[], %s::timestamp with time zone[]
    ) AS new (block_type, revision, state, created, modified)
) UPDATE preferences AS old
SET revision = new.revision, state = new.state, modified = new.modified
FROM new
WHERE old.student_id = %s AND old.block_type = new.block_type AND old.created = new.created
    AND old.revision = new.revision - 1;

-- === set: scope user_info
-- Reads the row. The learner alone is the key.
SELECT revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint
FROM userinfo
WHERE student_id = %s;

-- Compare-and-set.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[]) AS new (revision, state, created, modified)
) UPDATE userinfo AS old
SET revision = new.revision, state = new.state, modified = new.modified
FROM new
WHERE old.student_id = %s AND old.created = new.created AND old.revision = new.revision - 1;

-- === set: scope user_state_summary
-- Lookup as for user_state, but no learner: all learners share the row.
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint
FROM unnest((SELECT %s::bigint[])) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN userstatesummary AS stored ON stored.block_id = asked.id;

-- Compare-and-set.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[]) AS new (block_id, revision, state, created, modified)
) UPDATE userstatesummary AS old
SET revision = new.revision, state = new.state, modified = new.modified
FROM new
WHERE old.block_id = new.block_id AND old.created = new.created AND old.revision = new.revision - 1;

-- === set: one row without history in the caller's transaction
BEGIN;

SAVEPOINT <savepoint>;

-- As with history.
WITH new AS (
    SELECT *
    FROM unnest((SELECT %s::bigint[]), %s::bigint[], string_to_array(%s, %s, %s), %s::timestamp with time zone[],
        %s::timestamp with time zone[]) AS new (block_id, revision, state, created, modified)
) UPDATE userstatesummary AS old
SET revision = new.revision, state = new.state, modified = new.modified
FROM new
WHERE old.block_id = new.block_id AND old.created = new.created AND old.revision = new.revision - 1;

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === iter_all_for_block
-- A page of rows of all learners, in the order of the index (block_id, student_id). `<> {}` leaves out deleted states.
-- The page is not full, so it is the last one.
SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint, revision
FROM studentmodule
WHERE block_id = ANY(%s::bigint[]) AND state IS NOT NULL AND state <> %s
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
SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint, revision
FROM studentmodule
WHERE block_id = ANY(%s::bigint[]) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

-- Names that this iteration has not met yet. Later pages have the same learner, so they ask for none.
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

-- The rest of the last block, after the last learner. Two conditions instead of (block_id, student_id) > (%s, %s):
-- MariaDB and MySQL would not use their index for that.
SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint, revision
FROM studentmodule
WHERE block_id = %s AND student_id > %s AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

-- The next page, over the blocks after the last one.
SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint, revision
FROM studentmodule
WHERE block_id = ANY(%s::bigint[]) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;
