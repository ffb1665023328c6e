//! What the description says of every operation alike: which client it is about, how old its answer is, which problems it
//! may end in. It follows from the path and from what the operation takes, so that a new route is described, too.

use serde_json::{Map, Value, json};

/// Paths below `/api` that are about no client.
const ABOUT_NO_CLIENT: [&str; 3] = ["/api/auth/", "/api/exchanges", "/api/admin/"];
/// Paths about people, who stand in no read model.
const ABOUT_PEOPLE: [&str; 7] = [
    "/api/auth/",
    "/api/admin/users",
    "/api/admin/services",
    "/api/admin/access-log",
    "/api/clients/users",
    "/api/clients/services",
    "/api/clients/access-log",
];
/// Told for as long as somebody listens, and so neither kept nor compared.
const STREAM: &str = "/api/stream";

/// An operation, as far as what is said here depends on it.
struct Operation<'a> {
    path: &'a str,
    public: bool,
    question: bool,
    command: bool,
    takes_body: bool,
    /// It may be narrowed to one client, who may not be there.
    names_a_client: bool,
}

/// Completes a description in place.
pub fn complete(api: &mut Value) {
    for (path, item) in entries(&mut api["paths"]) {
        for (method, said) in entries(item) {
            let operation = Operation::of(path, method, said);
            operation.complete(said);
        }
    }
    let components = &mut api["components"];
    components["headers"] = headers();
    components["responses"] = PROBLEMS.iter().map(|(status, _)| (component(*status), problem(*status))).collect();
}

fn entries(of: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    of.as_object_mut().into_iter().flatten()
}

impl<'a> Operation<'a> {
    fn of(path: &'a str, method: &str, said: &Value) -> Self {
        let parameters = said["parameters"].as_array();
        let says = |name: &str| parameters.into_iter().flatten().any(|parameter| parameter["name"] == name);
        let command = says("Idempotency-Key");
        Self {
            path,
            public: said["security"] == json!([{}]),
            question: method == "get",
            command,
            takes_body: command || said.get("requestBody").is_some(),
            names_a_client: says("client") || says("of"),
        }
    }

    fn is_about_a_client(&self) -> bool {
        self.path.starts_with("/api/") && !ABOUT_NO_CLIENT.iter().any(|path| self.path.starts_with(path))
    }

    fn is_about_people(&self) -> bool {
        ABOUT_PEOPLE.iter().any(|path| self.path.starts_with(path))
    }

    /// Answered from what is kept ready.
    fn is_about_read_models(&self) -> bool {
        self.question && self.is_about_a_client() && self.path != STREAM && !self.is_about_people()
    }

    /// The same, about all clients.
    fn is_about_the_desk(&self) -> bool {
        self.question && self.path.starts_with("/api/admin/") && !self.is_about_people()
    }

    fn complete(&self, said: &mut Value) {
        let parameters = said["parameters"].take();
        let mut parameters = parameters.as_array().cloned().unwrap_or_default();
        for parameter in &mut parameters {
            match parameter["name"].as_str() {
                Some("Idempotency-Key") => *parameter = key(),
                Some(_) | None => widen(&mut parameter["schema"]),
            }
        }
        let told: Vec<Value> = parameters.iter().map(|parameter| parameter["name"].clone()).collect();
        parameters.extend(self.parameters().into_iter().filter(|parameter| !told.contains(&parameter["name"])));
        said["parameters"] = parameters.into();
        let headers = self.headers();
        for (_, response) in entries(&mut said["responses"]) {
            response["headers"] = headers.clone();
        }
        let responses = said["responses"].as_object_mut().expect("an operation is answered");
        if self.is_about_read_models() {
            let told = json!({"description": "As it was when it had the ETag of If-None-Match", "headers": headers});
            responses.insert("304".to_owned(), told);
        }
        for (status, _) in PROBLEMS.iter().filter(|(_, may)| may(self)) {
            let place = format!("#/components/responses/{}", component(*status));
            responses.insert(status.to_string(), json!({"$ref": place}));
        }
    }

    /// What can be said to it beside its own.
    fn parameters(&self) -> Vec<Value> {
        let mut parameters = Vec::new();
        if self.is_about_a_client() {
            parameters.push(json!({
                "name": "client", "in": "query", "required": false,
                "description": "For an admin, who has to say which client this is about; whoever is a client's leaves it out.",
                "schema": {"$ref": "#/components/schemas/Slug"},
            }));
        }
        if self.is_about_read_models() {
            parameters.push(json!({
                "name": "min_seq", "in": "query", "required": false,
                "description": "The answer has to know this event of the client's stream; it is waited for.",
                "schema": {"type": "integer", "format": "uint64", "minimum": 0, "maximum": u64::MAX},
            }));
            parameters.push(json!({
                "name": "If-None-Match", "in": "header", "required": false,
                "description": "The ETag of an answer that is there already.", "schema": {"type": "string"},
            }));
        }
        parameters
    }

    /// What an answer that is one tells in headers.
    fn headers(&self) -> Value {
        let names: &[&str] = match (self.is_about_read_models(), self.is_about_the_desk()) {
            (true, _) => &["As-Of-Seq", "Head-Seq", "Age", "Stale", "ETag"],
            (false, true) => &["Age", "Stale"],
            (false, false) => &[],
        };
        let header = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
        names.iter().map(header).collect()
    }
}

/// A key under which a command is done once.
fn key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": true,
        "description": "A command that is sent again under its key is done once; another command takes another key.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "example": "deploy-quoter-2026-11-24",
    })
}

/// A number that is read as a `u64` may be larger than what is called `int64`.
fn widen(schema: &mut Value) {
    if schema["format"] == "int64" && schema["minimum"] == 0 {
        schema["format"] = "uint64".into();
        schema["maximum"] = u64::MAX.into();
    }
}

fn headers() -> Value {
    let number = json!({"type": "integer", "format": "int64", "minimum": 0});
    json!({
        "As-Of-Seq": {"description": "The last event of the client's stream that the answer knows", "required": true, "schema": number},
        "Head-Seq": {"description": "The last event of the client's stream", "required": true, "schema": number},
        "Age": {"description": "How old the answer is, in seconds", "required": true, "schema": number},
        "Stale": {"description": "Whether that is too old", "required": true, "schema": {"type": "string", "enum": ["true", "false"]}},
        "ETag": {"description": "Another answer has another one", "schema": {"type": "string"}},
        "Retry-After": {"description": "In so many seconds it may go better", "schema": {"type": "integer", "minimum": 1}},
        "WWW-Authenticate": {"description": "How to say who asks", "required": true, "schema": {"type": "string"}},
    })
}

type May = fn(&Operation<'_>) -> bool;

/// The statuses of problems, and which operations may end in them.
const PROBLEMS: [(u16, May); 11] = [
    (400, |of| of.takes_body),
    (401, |of| of.path.starts_with("/api/")),
    (403, |of| !of.public),
    (404, |of| of.path.contains('{') || of.names_a_client || of.is_about_a_client()),
    (409, |of| of.command || of.is_about_people() || of.path.ends_with("/try")),
    (413, |_| true),
    (415, |of| of.takes_body),
    (422, |_| true),
    (429, |_| true),
    (500, |_| true),
    (503, |_| true),
];

fn component(status: u16) -> String {
    format!("Problem{status}")
}

fn problem(status: u16) -> Value {
    let headers: &[&str] = match status {
        401 => &["WWW-Authenticate"],
        429 | 503 => &["Retry-After"],
        _ => &[],
    };
    let headers: Map<String, Value> = headers
        .iter()
        .map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")})))
        .collect();
    json!({
        "description": "Not answered: why, and what to do",
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    })
}
