

-- === get_many: one block, by a client that does not know its user
SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.username = %s;

SELECT block_id, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, grade, max_grade, history_chain
FROM studentmodule
WHERE student_id = %s AND block_id = ANY(%s::bigint[]);

-- === get_many: three blocks
SELECT block_id, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint, grade, max_grade, history_chain
FROM studentmodule
WHERE student_id = %s AND block_id = ANY(%s::bigint[]);

-- === get_scores
SELECT block_id, grade, max_grade, (extract(epoch FROM modified) * 1000000)::bigint
FROM studentmodule
WHERE student_id = %s AND block_id = ANY(%s::bigint[]);

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
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain
FROM unnest(%s::bigint[]) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

WITH inserted AS (
    INSERT INTO learningcontext (id, key)
    SELECT new.*
    FROM unnest(%s::bigint[], string_to_array(%s, E'\x1e', E'\x1f')) AS new (id, key)
    ON CONFLICT DO NOTHING
    RETURNING id
),
valid AS (
    SELECT id
    FROM inserted
    UNION ALL
    SELECT new.id
    FROM learningcontext AS parent, unnest(%s::bigint[], string_to_array(%s, E'\x1e', E'\x1f')) AS new (id, key)
    WHERE parent.id = new.id AND parent.key = new.key
)
INSERT INTO block (id, context_id, usage_key, block_type)
SELECT new.*
FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'),
    string_to_array(%s, E'\x1e', E'\x1f')) AS new (id, context_id, usage_key, block_type)
WHERE new.context_id IN (SELECT id FROM valid)
ON CONFLICT DO NOTHING;

WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[],
        %s::smallint[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain)
),
created AS (
    INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade,
        history_chain)
    SELECT %s, new.*
    FROM new
    WHERE new.revision = 1 AND true
),
recorded AS (
    INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade,
        body)
    SELECT %s, %s, new.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::timestamp with time zone[], %s::smallint[], %s::double precision[],
        %s::double precision[], %s::bytea[]) AS new (block_id, revision, created, encoding, grade, max_grade, body)
    WHERE true
)
SELECT true;

-- === set_many: update of one row, in the row cache
WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[],
        %s::smallint[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain)
),
updated AS (
    UPDATE studentmodule AS old
    SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade,
        max_grade = new.max_grade, history_chain = new.history_chain
    FROM new
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
    RETURNING 1
),
recorded AS (
    INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade,
        body)
    SELECT %s, %s, new.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::timestamp with time zone[], %s::smallint[], %s::double precision[],
        %s::double precision[], %s::bytea[]) AS new (block_id, revision, created, encoding, grade, max_grade, body)
    WHERE EXISTS (SELECT FROM updated)
)
SELECT EXISTS (SELECT FROM updated);

-- === set_many: update of two rows, in the row cache
WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[],
        %s::smallint[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain)
),
locked AS (
    SELECT count(*) AS number
    FROM (
        SELECT 1
        FROM studentmodule AS old, new
        WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
            AND old.revision = new.revision - 1
        ORDER BY new.block_id, new.created
        FOR UPDATE OF old
    ) AS old
),
updated AS (
    UPDATE studentmodule AS old
    SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade,
        max_grade = new.max_grade, history_chain = new.history_chain
    FROM new
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1 AND (SELECT number FROM locked) = 2
),
recorded AS (
    INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade,
        body)
    SELECT %s, %s, new.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::timestamp with time zone[], %s::smallint[], %s::double precision[],
        %s::double precision[], %s::bytea[]) AS new (block_id, revision, created, encoding, grade, max_grade, body)
    WHERE (SELECT number FROM locked) = 2
)
SELECT (SELECT number FROM locked) = 2;

-- === set_many: two updates and a new row, looked up
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain
FROM unnest(%s::bigint[]) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN studentmodule AS stored ON stored.student_id = %s AND stored.block_id = asked.id;

WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[],
        %s::smallint[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain)
),
locked AS (
    SELECT count(*) AS number
    FROM (
        SELECT 1
        FROM studentmodule AS old, new
        WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
        ORDER BY new.block_id
        FOR UPDATE OF old
    ) AS old
),
updated AS (
    UPDATE studentmodule AS old
    SET revision = new.revision, state = new.state, created = new.created, modified = new.modified, grade = new.grade,
        max_grade = new.max_grade, history_chain = new.history_chain
    FROM new
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
        AND (SELECT number FROM locked) = 2
),
created AS (
    INSERT INTO studentmodule (student_id, block_id, revision, state, created, modified, grade, max_grade,
        history_chain)
    SELECT %s, new.*
    FROM new
    WHERE new.revision = 1 AND (SELECT number FROM locked) = 2
),
recorded AS (
    INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade,
        body)
    SELECT %s, %s, new.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::timestamp with time zone[], %s::smallint[], %s::double precision[],
        %s::double precision[], %s::bytea[]) AS new (block_id, revision, created, encoding, grade, max_grade, body)
    WHERE (SELECT number FROM locked) = 2
)
SELECT (SELECT number FROM locked) = 2;

-- === set_many: a hot row, locked at first
BEGIN;

WITH locked AS (
    SELECT *
    FROM studentmodule
    WHERE student_id = %s AND block_id = ANY(%s::bigint[])
    ORDER BY block_id
    FOR UPDATE
)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain
FROM unnest(%s::bigint[]) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[],
        %s::smallint[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain)
),
updated AS (
    UPDATE studentmodule AS old
    SET revision = new.revision, state = new.state, created = new.created, modified = new.modified, grade = new.grade,
        max_grade = new.max_grade, history_chain = new.history_chain
    FROM new
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
    RETURNING 1
),
recorded AS (
    INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade,
        body)
    SELECT %s, %s, new.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::timestamp with time zone[], %s::smallint[], %s::double precision[],
        %s::double precision[], %s::bytea[]) AS new (block_id, revision, created, encoding, grade, max_grade, body)
    WHERE EXISTS (SELECT FROM updated)
)
SELECT EXISTS (SELECT FROM updated);

COMMIT;

-- === set_many: in the caller's transaction
BEGIN;

SAVEPOINT <savepoint>;

WITH locked AS (
    SELECT *
    FROM studentmodule
    WHERE student_id = %s AND block_id = ANY(%s::bigint[])
    ORDER BY block_id
    FOR UPDATE
)
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint,
    stored.grade, stored.max_grade, stored.history_chain
FROM unnest(%s::bigint[]) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN locked AS stored ON stored.block_id = asked.id;

WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[],
        %s::smallint[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain)
),
updated AS (
    UPDATE studentmodule AS old
    SET revision = new.revision, state = new.state, created = new.created, modified = new.modified, grade = new.grade,
        max_grade = new.max_grade, history_chain = new.history_chain
    FROM new
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.revision = new.revision - 1
    RETURNING 1
),
recorded AS (
    INSERT INTO studentmodulehistory (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade,
        body)
    SELECT %s, %s, new.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::timestamp with time zone[], %s::smallint[], %s::double precision[],
        %s::double precision[], %s::bytea[]) AS new (block_id, revision, created, encoding, grade, max_grade, body)
    WHERE EXISTS (SELECT FROM updated)
)
SELECT EXISTS (SELECT FROM updated);

RELEASE SAVEPOINT <savepoint>;

COMMIT;

-- === set_many: history in the outbox
WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[], %s::double precision[], %s::double precision[],
        %s::smallint[]) AS new (block_id, revision, state, created, modified, grade, max_grade, history_chain)
),
updated AS (
    UPDATE studentmodule AS old
    SET revision = new.revision, state = new.state, modified = new.modified, grade = new.grade,
        max_grade = new.max_grade, history_chain = new.history_chain
    FROM new
    WHERE old.student_id = %s AND old.block_id = new.block_id AND old.created = new.created
        AND old.revision = new.revision - 1
    RETURNING 1
),
recorded AS (
    INSERT INTO historyoutbox (student_id, actor_id, block_id, revision, created, encoding, grade, max_grade, body)
    SELECT %s, %s, new.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::timestamp with time zone[], %s::smallint[], %s::double precision[],
        %s::double precision[], %s::bytea[]) AS new (block_id, revision, created, encoding, grade, max_grade, body)
    WHERE EXISTS (SELECT FROM updated)
)
SELECT EXISTS (SELECT FROM updated);

-- === delete_many
-- Same as: set_many: update of two rows, in the row cache

-- === set_score
-- Same as: set_many: update of one row, in the row cache

-- === batch: two scopes, in the row cache
BEGIN;

WITH new AS (
    SELECT *
    FROM unnest(string_to_array(%s, E'\x1e', E'\x1f'), %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'),
        %s::timestamp with time zone[], %s::timestamp with time zone[]) AS new (block_type, revision, state, created,
        modified)
),
updated AS (
    UPDATE preferences AS old
    SET revision = new.revision, state = new.state, modified = new.modified
    FROM new
    WHERE old.student_id = %s AND old.block_type = new.block_type AND old.created = new.created
        AND old.revision = new.revision - 1
    RETURNING 1
)
SELECT EXISTS (SELECT FROM updated);

WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[]) AS new (revision, state, created, modified)
),
updated AS (
    UPDATE userinfo AS old
    SET revision = new.revision, state = new.state, modified = new.modified
    FROM new
    WHERE old.student_id = %s AND old.created = new.created AND old.revision = new.revision - 1
    RETURNING 1
)
SELECT EXISTS (SELECT FROM updated);

COMMIT;

-- === set: scope preferences
SELECT block_type, revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint
FROM preferences
WHERE student_id = %s AND block_type = ANY(string_to_array(%s, E'\x1e', E'\x1f'));

WITH new AS (
    SELECT *
    FROM unnest(string_to_array(%s, E'\x1e', E'\x1f'), %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'),
        %s::timestamp with time zone[], %s::timestamp with time zone[]) AS new (block_type, revision, state, created,
        modified)
),
updated AS (
    UPDATE preferences AS old
    SET revision = new.revision, state = new.state, created = new.created, modified = new.modified
    FROM new
    WHERE old.student_id = %s AND old.block_type = new.block_type AND old.revision = new.revision - 1
    RETURNING 1
)
SELECT EXISTS (SELECT FROM updated);

-- === set: scope user_info
SELECT revision, state, (extract(epoch FROM created) * 1000000)::bigint,
    (extract(epoch FROM modified) * 1000000)::bigint
FROM userinfo
WHERE student_id = %s;

WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[]) AS new (revision, state, created, modified)
),
updated AS (
    UPDATE userinfo AS old
    SET revision = new.revision, state = new.state, created = new.created, modified = new.modified
    FROM new
    WHERE old.student_id = %s AND old.revision = new.revision - 1
    RETURNING 1
)
SELECT EXISTS (SELECT FROM updated);

-- === set: scope user_state_summary
SELECT asked.id, block.context_id, block.usage_key, stored.revision, stored.state,
    (extract(epoch FROM stored.created) * 1000000)::bigint, (extract(epoch FROM stored.modified) * 1000000)::bigint
FROM unnest(%s::bigint[]) AS asked (id)
LEFT JOIN block AS block ON block.id = asked.id
LEFT JOIN userstatesummary AS stored ON stored.block_id = asked.id;

WITH new AS (
    SELECT *
    FROM unnest(%s::bigint[], %s::bigint[], string_to_array(%s, E'\x1e', E'\x1f'), %s::timestamp with time zone[],
        %s::timestamp with time zone[]) AS new (block_id, revision, state, created, modified)
),
updated AS (
    UPDATE userstatesummary AS old
    SET revision = new.revision, state = new.state, created = new.created, modified = new.modified
    FROM new
    WHERE old.block_id = new.block_id AND old.revision = new.revision - 1
    RETURNING 1
)
SELECT EXISTS (SELECT FROM updated);

-- === iter_all_for_block
SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint
FROM studentmodule
WHERE block_id = ANY(%s::bigint[]) AND state IS NOT NULL AND state <> %s
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

SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint
FROM studentmodule
WHERE block_id = ANY(%s::bigint[]) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

SELECT auth_user.id AS pk, auth_user.username AS username
FROM auth_user
WHERE auth_user.id IN (%s);

SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint
FROM studentmodule
WHERE block_id = %s AND student_id > %s AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;

SELECT block_id, student_id, state, (extract(epoch FROM modified) * 1000000)::bigint
FROM studentmodule
WHERE block_id = ANY(%s::bigint[]) AND state IS NOT NULL AND state <> %s
ORDER BY block_id, student_id
LIMIT 2;
