//! Every secret that the suite gives to the platform can be recognised, and must show nowhere: in no answer, no log, no
//! table but where it is meant to be sealed or hashed, no message. A new kind of secret gets a mark here, and everything
//! that is looked through is looked through for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::bytes::RegexSet;
use sqlx::{ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};

/// What a secret of a kind looks like: a pattern that Postgres and we read alike. The fake ones are also known when they
/// were written in base64 or in hex.
const MARKS: &[(&str, &str)] = &[
    ("a key, secret or passphrase of an exchange", "fake-|fake passphrase|ZmFrZS|66616b65(?:2d|20)"),
    ("a password", "not-a-real-password|bm90LWEtcmVhbC1wYXNzd29yZ|6e6f742d612d7265616c2d70617373776f7264"),
    ("the password of the Hummingbot API", "only-for-tests|b25seS1mb3ItdGVzdH|6f6e6c792d666f722d7465737473"),
    ("SECRET_KEY or ENCRYPTION_KEY", "for-tests-only|Zm9yLXRlc3RzLW9ubH|666f722d74657374732d6f6e6c79"),
    ("AUDIT_SIGNING_KEY", "0102030405060708090a0b0c0d0e0f101112131415161718"),
    ("a token", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}|pl[lprt]_[0-9a-f]{32}_[0-9a-f]{64}"),
    ("the seed of a second factor", "otpauth:"),
    ("where a channel leads", "hook-nobody-knows|aG9vay1ub2JvZHkta25vd3|686f6f6b2d6e6f626f64792d6b6e6f7773"),
    ("what webhooks are signed by", r"whsec_[A-Za-z0-9+/]{24,}"),
    ("the hash of a password", r"\$argon2"),
];

/// Where a hash of a password belongs.
const HASHES: (&str, &str) = ("auth.users", "the hash of a password");

/// A secret where none may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file, or the database and its table.
    pub place: String,
    pub kind: &'static str,
    /// What was seen, in part.
    pub seen: String,
}

static ANY: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(MARKS.iter().map(|(_, mark)| format!("(?-u){mark}"))).expect("they are patterns"));

/// The kinds of secrets that bytes hold.
pub fn kinds_in(bytes: &[u8]) -> Vec<&'static str> {
    ANY.matches(bytes).into_iter().map(|at| MARKS[at].0).collect()
}

/// Holds what was answered or said against all marks.
///
/// # Panics
/// If there is a secret in it that may not show.
pub fn none_in(what: &str, bytes: &[u8], may_show: &[&str]) {
    let found: Vec<&str> = kinds_in(bytes).into_iter().filter(|kind| !may_show.contains(kind)).collect();
    assert!(found.is_empty(), "{what} holds {found:?}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]));
}

/// Looks through every file below a folder.
pub fn in_files(below: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for file in files(below)? {
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            // Servers that still run put theirs away now and then.
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        for kind in kinds_in(&bytes) {
            let mark = MARKS.iter().find(|(of, _)| *of == kind).expect("it is one of them").1;
            let at = regex::bytes::Regex::new(&format!("(?-u){mark}")).expect("it is a pattern").find(&bytes);
            let (from, to) = at.map_or((0, 0), |at| (at.start().saturating_sub(60), (at.end() + 60).min(bytes.len())));
            let seen = String::from_utf8_lossy(&bytes[from..to]).into_owned();
            found.push(Found { place: file.display().to_string(), kind, seen });
        }
    }
    Ok(found)
}

fn files(below: &Path) -> io::Result<Vec<PathBuf>> {
    if below.is_file() {
        return Ok(vec![below.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        files.extend(self::files(&path)?);
    }
    Ok(files)
}

/// Looks through every row of every table of a database, as a superuser.
pub async fn in_database(database: &PgConnectOptions) -> sqlx::Result<Vec<Found>> {
    let mut db = database.connect().await?;
    let mut found = Vec::new();
    for table in tables(&mut db).await? {
        found.extend(in_table(&mut db, database.get_database().unwrap_or_default(), &table).await?);
    }
    db.close().await?;
    Ok(found)
}

async fn tables(db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let tables = "select format('%I.%I', n.nspname, c.relname)
                    from pg_class c
                    join pg_namespace n on n.oid = c.relnamespace
                   where c.relkind = 'r' and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'";
    sqlx::query_scalar(tables).fetch_all(db).await
}

async fn in_table(db: &mut PgConnection, database: &str, table: &str) -> sqlx::Result<Vec<Found>> {
    let any: Vec<String> = MARKS.iter().map(|(_, mark)| format!("(?:{mark})")).collect();
    let looked = format!("select t::text from {table} t where t::text ~ $1");
    let rows = sqlx::query(&looked).bind(any.join("|")).fetch_all(db).await?;
    let mut found = Vec::new();
    for row in rows {
        let row: String = row.get(0);
        let kinds = kinds_in(row.as_bytes()).into_iter().filter(|kind| (table, *kind) != HASHES);
        found.extend(kinds.map(|kind| Found {
            place: format!("{database} {table}"),
            kind,
            seen: row.chars().take(300).collect(),
        }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_in_whatever_spelling_it_lies_around() {
        for (text, kinds) in [
            ("key=fake-acme-okx_api_key", vec![MARKS[0].0]),
            ("Basic ZmFrZS1hY21l", vec![MARKS[0].0]),
            ("\\x66616b652d61636d65", vec![MARKS[0].0]),
            ("not-a-real-password-1", vec![MARKS[1].0]),
            ("Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMTkwMDAwMCJ9abc.c2lnbmF0dXJlIG9mIGl0IGFsbA", vec!["a token"]),
            ("gAAAAABm nothing to see, fakes are not keys", vec![]),
        ] {
            assert_eq!(kinds_in(text.as_bytes()), kinds, "{text}");
        }
    }
}
