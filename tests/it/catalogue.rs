//! What Postgres itself says of the walls: rules that every table, view, function, key and login has to keep, whoever adds
//! one. Each rule is a query for what breaks it, and each is shown to find the fault that it is there for.
//!
//! Three things are as they are on purpose, and named in the rules: the projector owns the read models, because it makes
//! the tables of a rebuild itself (row security is forced, so it passes by a policy of its own and not as their owner);
//! `compat.events` is read with its owner's rights, by a role that logs in nowhere; schema `auth` is about users, who are
//! found by e-mail before anybody knows whose they are, by the one login that sees it.

use std::collections::BTreeSet;

use events::ClientId;
use sqlx::{PgConnection, PgPool, Row};
use store::{Login, read};
use tests::Database;

use crate::facts::{client_id, client_with_bot};

/// What has to hold, and the query that names whatever breaks it.
struct Rule {
    says: &'static str,
    broken_by: &'static str,
}

/// What the queries of all rules speak of: ours alone, whatever schemas there are.
const OURS: &str = r#"
with schemas as (
  select oid, nspname
    from pg_namespace
   where nspname !~ '^pg_' and nspname <> 'information_schema'),
logins as (
  select oid, rolname::text as name
    from pg_roles
   where rolname like 'pipelabs\_%' and rolcanlogin),
tables as (
  select c.oid, c.oid::regclass::text as name, n.nspname::text as schema, c.relowner, c.relrowsecurity, c.relforcerowsecurity,
         c.relispartition, c.relkind, a.attnum as client_id
    from pg_class c
    join schemas n on n.oid = c.relnamespace
    left join pg_attribute a on a.attrelid = c.oid and a.attname = 'client_id' and not a.attisdropped
   where c.relkind in ('r', 'p')),
policies as (
  select p.*, pg_get_expr(p.polqual, p.polrelid) as says
    from pg_policy p)
"#;

const RULES: &[Rule] = &[
    Rule {
        says: "a table with a client forces row security",
        broken_by: "select name from tables
                     where client_id is not null and not relispartition and not (relrowsecurity and relforcerowsecurity)",
    },
    Rule {
        says: "a table with a client has a policy",
        broken_by: "select name from tables t
                     where client_id is not null and not relispartition
                       and not exists (select from policies p where p.polrelid = t.oid)",
    },
    Rule {
        says: "who asks for one client is held to it by a restrictive policy",
        broken_by: "select t.name || ' for ' || l.name
                      from tables t
                      join logins l on l.name in ('pipelabs_query', 'pipelabs_auditor') and has_any_column_privilege(l.oid, t.oid, 'select')
                     where t.client_id is not null
                       and not exists (select from policies p
                                        where p.polrelid = t.oid and not p.polpermissive and p.polcmd in ('*', 'r')
                                          and l.oid = any(p.polroles)
                                          and p.says like '%client_id = ( SELECT pipelabs_walls.current_client() AS current_client)%')",
    },
    Rule {
        says: "a policy that lets everything through names the logins that it is for",
        broken_by: "select polrelid::regclass::text || ' by ' || polname from policies where polpermissive and 0 = any(polroles)",
    },
    Rule {
        says: "what one client is asked about has a client in it, but for the list of versions",
        broken_by: "select t.name
                      from tables t
                      join logins l on l.name in ('pipelabs_query', 'pipelabs_auditor') and has_any_column_privilege(l.oid, t.oid, 'select')
                     where t.client_id is null and t.name <> 'rm.versions'",
    },
    Rule {
        says: "no role of ours passes row security, makes roles or replicates",
        broken_by: "select rolname::text from pg_roles
                     where rolname like 'pipelabs\\_%' and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)",
    },
    Rule {
        says: "no login can become another role",
        broken_by: "select l.name || ' as ' || m.roleid::regrole from logins l join pg_auth_members m on m.member = l.oid",
    },
    Rule {
        says: "no login owns a table, but the projector its read models",
        broken_by: "select l.name || ' owns ' || t.name
                      from tables t
                      join logins l on l.oid = t.relowner
                     where not (l.name = 'pipelabs_projector' and t.schema like 'rm\\_%')",
    },
    Rule {
        says: "no login makes anything in a schema of another's",
        broken_by: "select l.name || ' in ' || n.nspname
                      from logins l
                      join pg_namespace n on n.oid in (select oid from schemas)
                     where n.nspowner <> l.oid and has_schema_privilege(l.oid, n.oid, 'create')",
    },
    Rule {
        says: "no login reaches a partition by its own name",
        broken_by: "select l.name || ' reaches ' || t.name
                      from tables t
                     cross join logins l
                     where t.relispartition
                       and (has_any_column_privilege(l.oid, t.oid, 'select, insert, update, references')
                            or has_table_privilege(l.oid, t.oid, 'delete, truncate, trigger'))",
    },
    Rule {
        says: "a view is read with the rights of whoever reads it",
        broken_by: "select c.oid::regclass::text
                      from pg_class c
                      join schemas n on n.oid = c.relnamespace
                     where c.relkind = 'v'
                       and not coalesce('security_invoker=true' = any(c.reloptions) or 'security_invoker=on' = any(c.reloptions), false)
                       and (c.oid::regclass::text <> 'compat.events'
                            or exists (select from logins l where has_any_column_privilege(l.oid, c.oid, 'select')))",
    },
    Rule {
        says: "there is no materialised view: it knows no policies",
        broken_by: "select c.oid::regclass::text from pg_class c join schemas n on n.oid = c.relnamespace where c.relkind = 'm'",
    },
    Rule {
        says: "a function with its owner's rights has a fixed search path that ends in pg_temp",
        broken_by: "select p.oid::regprocedure::text
                      from pg_proc p
                      join schemas n on n.oid = p.pronamespace
                     where p.prosecdef
                       and not exists (select from unnest(p.proconfig) setting where setting ~ '^search_path=.*pg_temp$')",
    },
    Rule {
        says: "a function is nobody's whom it was not granted to",
        broken_by: "select p.oid::regprocedure::text
                      from pg_proc p
                      join schemas n on n.oid = p.pronamespace
                     where has_function_privilege('public', p.oid, 'execute')",
    },
    Rule {
        says: "a key and a unique index of a table with a client begin with it",
        broken_by: "select i.indexrelid::regclass::text
                      from pg_index i
                      join tables t on t.oid = i.indrelid
                     where t.client_id is not null and t.schema <> 'auth' and (i.indisunique or i.indisprimary)
                       and i.indkey[0] <> t.client_id",
    },
    Rule {
        says: "no key of another table is tried on behalf of one who may not see it",
        broken_by: "select conname::text
                      from pg_constraint k
                      join tables t on t.oid = k.conrelid
                     where k.contype = 'f' and t.schema <> 'auth'",
    },
    Rule {
        says: "schemas vault and auth are seen by the login of that name alone",
        broken_by: "select l.name || ' sees ' || t.name
                      from tables t
                     cross join logins l
                     where t.schema in ('vault', 'auth') and l.name <> 'pipelabs_' || t.schema
                       and (has_schema_privilege(l.oid, t.schema, 'usage')
                            or has_any_column_privilege(l.oid, t.oid, 'select, insert, update, references')
                            or has_table_privilege(l.oid, t.oid, 'delete, truncate, trigger'))",
    },
    Rule {
        says: "no login empties a table, but the projector its own",
        broken_by: "select l.name || ' empties ' || t.name
                      from tables t
                     cross join logins l
                     where has_table_privilege(l.oid, t.oid, 'truncate') and t.relowner <> l.oid",
    },
    Rule {
        says: "each login writes what is its own and nothing else",
        broken_by: r#"select l.name || ' writes ' || t.name
                        from tables t
                       cross join logins l
                       where (has_any_column_privilege(l.oid, t.oid, 'insert, update') or has_table_privilege(l.oid, t.oid, 'delete'))
                         and not case l.name
                               when 'pipelabs_projector' then t.schema ~ '^rm(_|$)' or t.name = 'es.signed_heads'
                               when 'pipelabs_relay'     then t.schema = 'relay'
                               when 'pipelabs_operator'  then t.name = 'operator.quarantine'
                               when 'pipelabs_alerts'    then t.schema = 'alerts'
                               when 'pipelabs_auth'      then t.schema = 'auth'
                               when 'pipelabs_vault'     then t.schema = 'vault'
                               else false
                             end"#,
    },
];

/// A rule, what somebody might do to break it, and what the rule has to name then.
const FAULTS: &[(&str, &str, &str)] = &[
    ("a table with a client forces row security", "alter table es.events no force row level security", "es.events"),
    (
        "a table with a client forces row security",
        "alter table rm_fills_v1.fills disable row level security",
        "rm_fills_v1.fills",
    ),
    ("a table with a client has a policy", "create table es.planted (client_id uuid primary key)", "es.planted"),
    (
        "who asks for one client is held to it by a restrictive policy",
        "drop policy own_client_only on rm_bots_v1.bots",
        "rm_bots_v1.bots for pipelabs_query",
    ),
    (
        "who asks for one client is held to it by a restrictive policy",
        "alter policy own_client_only on es.events using (true)",
        "es.events for pipelabs_auditor",
    ),
    (
        "a policy that lets everything through names the logins that it is for",
        "create policy planted on es.streams using (true)",
        "es.streams by planted",
    ),
    (
        "what one client is asked about has a client in it, but for the list of versions",
        "create table es.planted (id uuid primary key); grant select on es.planted to pipelabs_query",
        "es.planted",
    ),
    (
        "no role of ours passes row security, makes roles or replicates",
        "create role pipelabs_planted login bypassrls",
        "pipelabs_planted",
    ),
    (
        "no role of ours passes row security, makes roles or replicates",
        "create role pipelabs_planted superuser",
        "pipelabs_planted",
    ),
    (
        "no login can become another role",
        "create role pipelabs_planted login in role pipelabs_owner",
        "pipelabs_planted as pipelabs_owner",
    ),
    (
        "no login owns a table, but the projector its read models",
        "alter table es.leases owner to pipelabs_writer",
        "pipelabs_writer owns es.leases",
    ),
    (
        "no login makes anything in a schema of another's",
        "grant create on schema es to pipelabs_relay",
        "pipelabs_relay in es",
    ),
    (
        "no login reaches a partition by its own name",
        "grant select (payload) on es.events_p7 to pipelabs_query",
        "pipelabs_query reaches es.events_p7",
    ),
    (
        "a view is read with the rights of whoever reads it",
        "create view es.planted as select * from es.events",
        "es.planted",
    ),
    (
        "a view is read with the rights of whoever reads it",
        "grant select on compat.events to pipelabs_query",
        "compat.events",
    ),
    (
        "there is no materialised view: it knows no policies",
        "create materialized view es.planted as select * from es.events",
        "es.planted",
    ),
    (
        "a function with its owner's rights has a fixed search path that ends in pg_temp",
        "create function es.planted() returns bigint language sql security definer as 'select count(*) from es.events'",
        "es.planted()",
    ),
    (
        "a function with its owner's rights has a fixed search path that ends in pg_temp",
        "alter function es.seen set search_path = es",
        "es.seen(uuid[],uuid[])",
    ),
    (
        "a function is nobody's whom it was not granted to",
        "grant execute on function es.history to public",
        "es.history(uuid,text,text,bigint)",
    ),
    (
        "a key and a unique index of a table with a client begin with it",
        "create unique index planted on es.snapshots (aggregate_id, client_id)",
        "es.planted",
    ),
    (
        "a key and a unique index of a table with a client begin with it",
        "create table es.planted (id uuid primary key, client_id uuid)",
        "es.planted_pkey",
    ),
    (
        "no key of another table is tried on behalf of one who may not see it",
        "alter table es.leases add constraint planted foreign key (client_id) references es.streams",
        "planted",
    ),
    (
        "schemas vault and auth are seen by the login of that name alone",
        "grant usage on schema vault to pipelabs_query",
        "pipelabs_query sees vault.credentials",
    ),
    (
        "schemas vault and auth are seen by the login of that name alone",
        "grant select on auth.users to pipelabs_vault",
        "pipelabs_vault sees auth.users",
    ),
    (
        "no login empties a table, but the projector its own",
        "grant truncate on es.snapshots to pipelabs_operator",
        "pipelabs_operator empties es.snapshots",
    ),
    (
        "each login writes what is its own and nothing else",
        "grant update (head) on es.streams to pipelabs_writer",
        "pipelabs_writer writes es.streams",
    ),
    (
        "each login writes what is its own and nothing else",
        "grant delete on rm_pnl_v1.pnl_days to pipelabs_query",
        "pipelabs_query writes rm_pnl_v1.pnl_days",
    ),
];

async fn breaks(db: &mut PgConnection, rule: &Rule) -> BTreeSet<String> {
    let found = sqlx::query_scalar(&format!("{OURS} {}", rule.broken_by)).fetch_all(db).await;
    found.unwrap_or_else(|error| panic!("{}: {error}", rule.says)).into_iter().collect()
}

#[tokio::test]
async fn every_table_view_function_key_and_login_keeps_the_rules_of_the_walls() {
    let database = Database::new().await;
    let mut db = database.superuser().acquire().await.unwrap();
    let broken = {
        let mut broken = Vec::new();
        for rule in RULES {
            let found = breaks(&mut db, rule).await;
            broken.extend((!found.is_empty()).then(|| format!("{}, but not: {found:?}", rule.says)));
        }
        broken
    };
    assert!(broken.is_empty(), "{broken:#?}");
    let read_models =
        "select count(distinct relnamespace) from pg_class where relnamespace::regnamespace::text like 'rm\\_%'";
    let made: i64 = sqlx::query_scalar(read_models).fetch_one(&mut *db).await.unwrap();
    let known = projections::all(&database.pool(Login::Projector)).len();
    assert_eq!(made, known as i64, "the tables of every read model are looked at");
}

#[tokio::test]
async fn every_rule_of_the_walls_finds_the_fault_that_it_is_there_for() {
    let database = Database::new().await;
    let superuser = database.superuser();
    for (says, fault, expected) in FAULTS {
        let mut tx = superuser.begin().await.unwrap();
        sqlx::raw_sql(fault).execute(&mut *tx).await.unwrap_or_else(|error| panic!("{fault}: {error}"));
        let rule = RULES.iter().find(|rule| rule.says == *says).unwrap_or_else(|| panic!("no rule says {says:?}"));
        let found = breaks(&mut tx, rule).await;
        assert!(found.contains(*expected), "{says:?} does not name {expected} after {fault:?}, but {found:?}");
        tx.rollback().await.unwrap();
    }
    let tried: BTreeSet<&str> = FAULTS.iter().map(|(says, ..)| *says).collect();
    let untried: Vec<&str> = RULES.iter().map(|rule| rule.says).filter(|says| !tried.contains(says)).collect();
    assert!(untried.is_empty(), "nobody has seen these fail: {untried:?}");
}

/// Every table that holds something of clients.
async fn tables(db: &PgPool) -> Vec<String> {
    let tables =
        format!("{OURS} select name from tables where client_id is not null and not relispartition order by name");
    sqlx::query_scalar(&tables).fetch_all(db).await.unwrap()
}

/// A row of a client in every table, made of whatever its columns take: what stands in it matters to nobody here.
async fn fill(superuser: &PgPool, client: ClientId) {
    let columns = "select string_agg(quote_ident(a.attname), ', ' order by a.attnum),
                          string_agg(case
                            when a.attname = 'client_id' then '$1'
                            when a.attname = 'email' then 'gen_random_uuid()'
                            when t.typname = 'uuid'  then 'gen_random_uuid()'
                            when t.typname = 'bytea' then '''\\x00'''
                            when t.typname like 'json%' then '''{}'''
                            else case t.typcategory
                              when 'N' then '1'
                              when 'B' then 'false'
                              when 'D' then 'now()'
                              when 'A' then '''{}'''
                              else '''x''' end
                            end, ', ' order by a.attnum)
                     from pg_attribute a
                     join pg_type t on t.oid = a.atttypid
                    where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped
                      and (a.attnotnull or a.attname in ('client_id', 'email')) and a.attidentity = ''";
    for table in tables(superuser).await {
        let row = sqlx::query(columns).bind(&table).fetch_one(superuser).await.unwrap();
        let (names, values): (String, String) = (row.get(0), row.get(1));
        let fill = format!("insert into {table} ({names}) values ({values}) on conflict do nothing");
        let mut tx = superuser.begin().await.unwrap();
        // No row has to be there for another's sake.
        sqlx::raw_sql("set local session_replication_role = replica").execute(&mut *tx).await.unwrap();
        sqlx::query(&fill).bind(client.0).execute(&mut *tx).await.unwrap_or_else(|error| panic!("{fill}: {error}"));
        tx.commit().await.unwrap();
    }
}

/// Whether a login may read a table.
async fn may_read(superuser: &PgPool, login: Login, table: &str) -> bool {
    let may =
        "select has_table_privilege($1, $2::regclass, 'select') and has_schema_privilege($1, relnamespace, 'usage')
                 from pg_class where oid = $2::regclass";
    sqlx::query_scalar(may).bind(login.role()).bind(table).fetch_one(superuser).await.unwrap()
}

/// All rows of a table that are seen, and those of them that are of a client.
async fn seen(db: &mut PgConnection, table: &str, client: ClientId) -> (i64, i64) {
    let count = format!("select count(*), count(*) filter (where client_id = $1) from {table}");
    let row = sqlx::query(&count).bind(client.0).fetch_one(db).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn whoever_asks_for_one_client_sees_its_rows_of_every_table_and_no_row_before_one_is_named() {
    let database = Database::new().await;
    let superuser = database.superuser();
    let (one, other) = (client_id(1), client_id(2));
    for client in [one, other, ClientId::DESK] {
        fill(&superuser, client).await;
    }
    let mut tried = 0;
    for login in [Login::Query, Login::Auditor] {
        let pool = database.pool(login);
        for table in tables(&superuser).await {
            if !may_read(&superuser, login, &table).await {
                continue;
            }
            tried += 1;
            let mut db = pool.acquire().await.unwrap();
            assert_eq!(seen(&mut db, &table, one).await, (0, 0), "{login:?} sees {table} and nobody was named");
            drop(db);
            for client in [one, other] {
                let mut tx = pool.begin().await.unwrap();
                read::for_client(&mut tx, client).await.unwrap();
                assert_eq!(seen(&mut tx, &table, client).await, (1, 1), "{login:?} and {table} of {client}");
            }
            if login == Login::Query {
                let mut tx = pool.begin().await.unwrap();
                read::for_client(&mut tx, ClientId::DESK).await.unwrap();
                assert_eq!(seen(&mut tx, &table, ClientId::DESK).await, (0, 0), "{table} shows the desk's own");
            }
        }
    }
    // Three of the streams for the auditor, and at least one of each read model for the query.
    assert!(tried > 20, "{tried} tables were tried");
}

#[tokio::test]
async fn whoever_only_reads_can_neither_write_nor_empty_any_table() {
    let database = Database::new().await;
    client_with_bot(&database.streams(), "acme").await;
    let superuser = database.superuser();
    for login in [Login::Query, Login::AdminQuery, Login::Auditor, Login::Writer] {
        let pool = database.pool(login);
        for table in tables(&superuser).await {
            for statement in [
                format!("truncate {table}"),
                format!("delete from {table}"),
                format!("update {table} set client_id = client_id"),
                format!("insert into {table} (client_id) values (gen_random_uuid())"),
            ] {
                let refused = sqlx::query(&statement).execute(&pool).await.expect_err(&statement);
                let code = refused.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
                assert_eq!(code, "42501", "{login:?} and {statement}: {refused}");
            }
        }
    }
}
