

-- === get_many: one block, by a client that does not know its user
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.username = %s;

SELECT block_id, revision, state, created, modified, grade, max_grade, history_chain
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s);

-- === get_many: three blocks
SELECT block_id, revision, state, created, modified, grade, max_grade, history_chain
FROM studentmodule
WHERE student_id = %s AND block_id IN (%s, %s, %s);

-- === get_scores
SELECT block_id, grade, max_grade, modified
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
BEGIN IMMEDIATE;

SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain
FROM (SELECT column1 AS id FROM (VALUES (%s), (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

SAVEPOINT <savepoint>;

INSERT INTO learningcontext (id, key)
VALUES (%s, %s)
ON CONFLICT DO NOTHING;

SELECT id, key
FROM learningcontext
WHERE id IN (%s);

INSERT INTO block (id, context_id, usage_key, block_type)
VALUES (%s, %s, %s, %s), (%s, %s, %s, %s)
ON CONFLICT DO NOTHING;

RELEASE SAVEPOINT <savepoint>;

INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain
WHERE old.revision = excluded.revision - 1;

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of one row, in the row cache
BEGIN IMMEDIATE;

INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified,
    grade = excluded.grade, max_grade = excluded.max_grade, history_chain = excluded.history_chain
WHERE old.revision = excluded.revision - 1;

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: update of two rows, in the row cache
BEGIN IMMEDIATE;

INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified,
    grade = excluded.grade, max_grade = excluded.max_grade, history_chain = excluded.history_chain
WHERE old.revision = excluded.revision - 1;

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: two updates and a new row, looked up
BEGIN IMMEDIATE;

SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain
FROM (SELECT column1 AS id FROM (VALUES (%s), (%s), (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain
WHERE old.revision = excluded.revision - 1;

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s, %s, %s),
    (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: a hot row, locked at first
BEGIN IMMEDIATE;

SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain
FROM (SELECT column1 AS id FROM (VALUES (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain
WHERE old.revision = excluded.revision - 1;

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === set_many: in the caller's transaction
BEGIN IMMEDIATE;

SAVEPOINT <savepoint>;

SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified,
    stored.grade, stored.max_grade, stored.history_chain
FROM (SELECT column1 AS id FROM (VALUES (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, created = excluded.created,
    modified = excluded.modified, grade = excluded.grade, max_grade = excluded.max_grade,
    history_chain = excluded.history_chain
WHERE old.revision = excluded.revision - 1;

INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: history in the outbox
BEGIN IMMEDIATE;

INSERT INTO studentmodule AS old (student_id, block_id, revision, state, created, modified, grade, max_grade,
    history_chain)
SELECT %s, new.*
FROM (
    SELECT column1 AS block_id, column2 AS revision, column3 AS state, column4 AS created, column5 AS modified,
        column6 AS grade, column7 AS max_grade, column8 AS history_chain
    FROM (VALUES (%s, %s, %s, %s, %s, %s, %s, %s))
) AS new
WHERE new.revision = 1 OR EXISTS (
    SELECT 1
    FROM studentmodule AS old
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
)
ON CONFLICT (student_id, block_id)
DO UPDATE SET revision = excluded.revision, state = excluded.state, modified = excluded.modified,
    grade = excluded.grade, max_grade = excluded.max_grade, history_chain = excluded.history_chain
WHERE old.revision = excluded.revision - 1;

INSERT INTO historyoutbox (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s);

COMMIT;

-- === delete_many
-- Same as: set_many: update of two rows, in the row cache

-- === set_score
-- Same as: set_many: update of one row, in the row cache

-- === batch: two scopes, in the row cache
BEGIN IMMEDIATE;

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

SELECT block_type, revision, state, created, modified
FROM preferences
WHERE student_id = %s AND block_type IN (%s);

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

SELECT revision, state, created, modified
FROM userinfo
WHERE student_id = %s;

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

SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state, stored.created, stored.modified
FROM (SELECT column1 AS id FROM (VALUES (%s))) AS asked
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN userstatesummary AS stored ON stored.block_id = asked.id;

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

-- === iter_all_for_block
SELECT block_id, student_id, state, modified
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

SELECT block_id, student_id, state, modified
FROM studentmodule
WHERE block_id IN (%s, %s, %s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

SELECT block_id, student_id, state, modified
FROM studentmodule
WHERE block_id = %s AND student_id > %s AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

SELECT block_id, student_id, state, modified
FROM studentmodule
WHERE block_id IN (%s) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;
