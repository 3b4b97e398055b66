//! [`ConfigStore`]: the services' own configuration, shared by their replicas and kept for ever.
//!
//! It is kept with redb: one file, in the project's state folder, whose changes are either there or not, whatever happens
//! meanwhile; pure Rust, so that nothing has to be compiled or installed with it. A thread of its own has it open, from the
//! first use on, and writes what has come in together at once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use bytes::Bytes;
use orchestrator_core::ServiceName;
use orchestrator_core::routing::{Code, Fault};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// How many requests wait. Further ones are `overloaded`.
const QUEUE: usize = 1024;

/// How many are written together at most.
const BATCH: usize = 256;

/// The most values of one service, and how long each may be.
pub(crate) const MOST_VALUES: usize = 1024;
const LONGEST_VALUE: usize = 1 << 20;
const LONGEST_NAME: usize = 256;

/// Services and names to values, which are JSON.
const VALUES: TableDefinition<'static, (&str, &str), &[u8]> = TableDefinition::new("config");

/// The configuration of a project's services. Cheap to clone; the last one gone closes it.
#[derive(Clone, Debug)]
pub(crate) struct ConfigStore {
    requests: SyncSender<Request>,
}

/// What comes of a request: the value as it is now.
pub(crate) type Done = Box<dyn FnOnce(Result<Option<Bytes>, Fault>) + Send>;

struct Request {
    service: ServiceName,
    name: String,
    deed: Deed,
    done: Done,
}

/// What is to be done with a value.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Get,
    Set(Bytes),
    Remove,
}

impl ConfigStore {
    /// The configuration that is kept in this file, which need not be there.
    pub(crate) fn new(file: PathBuf) -> std::io::Result<Self> {
        let (requests, requested) = sync_channel(QUEUE);
        let keeper = Keeper { file, database: None };
        thread::Builder::new().name("config".into()).spawn(move || keeper.run(&requested))?;
        Ok(Self { requests })
    }

    /// Looks up a value. `done` is called on another thread, and must not wait.
    pub(crate) fn get(&self, service: ServiceName, name: String, done: Done) {
        self.request(service, name, Deed::Get, done);
    }

    /// Keeps what a value is in a fabric, for when that cannot be asked. Nobody waits for it.
    pub(crate) fn mirror(&self, service: ServiceName, name: String, value: Option<Bytes>) {
        let (store, of, named) = (self.clone(), service.clone(), name.clone());
        // What is kept already is not written again: that would take a disk.
        let compare: Done = Box::new(move |kept| {
            if kept.is_ok_and(|kept| kept != value) {
                let deed = value.map_or(Deed::Remove, Deed::Set);
                store.request(of, named, deed, Box::new(|_| {}));
            }
        });
        self.get(service, name, compare);
    }

    /// Does something with a value that was [checked](check). `done` is called when that can be lost no more, on another thread,
    /// and must not wait.
    pub(crate) fn request(&self, service: ServiceName, name: String, deed: Deed, done: Done) {
        let refused = match self.requests.try_send(Request { service, name, deed, done }) {
            Ok(()) => return,
            Err(TrySendError::Full(request)) => {
                (request, Fault::new(Code::Overloaded, "too many requests for the configuration wait"))
            }
            Err(TrySendError::Disconnected(request)) => {
                (request, Fault::new(Code::Unavailable, "the configuration is closed"))
            }
        };
        (refused.0.done)(Err(refused.1));
    }
}

/// Whether a value can be kept.
///
/// # Errors
/// With why not.
pub(crate) fn check(name: &str, value: Option<&Bytes>) -> Result<(), Fault> {
    limits(name, value).map_err(|why| Fault::new(Code::TooLarge, why))
}

fn limits(name: &str, value: Option<&Bytes>) -> Result<(), String> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(format!(
            "the name of a value has 1 to {LONGEST_NAME} bytes, this one has {}",
            name.len()
        ));
    }
    match value {
        Some(value) if value.len() > LONGEST_VALUE => Err(format!(
            "a value of the configuration has at most {LONGEST_VALUE} bytes, this one has {}",
            value.len()
        )),
        _ => Ok(()),
    }
}

/// What the thread has.
struct Keeper {
    file: PathBuf,
    database: Option<Database>,
}

impl Keeper {
    fn run(mut self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(requests.try_iter().take(BATCH - 1)).collect();
            match self.serve(&batch) {
                Ok(answers) => {
                    batch.into_iter().zip(answers).for_each(|(request, answer)| (request.done)(answer));
                }
                Err(error) => {
                    let why = format!("the configuration cannot be kept in {}: {error}", self.file.display());
                    batch
                        .into_iter()
                        .for_each(|request| (request.done)(Err(Fault::new(Code::Unavailable, why.clone()))));
                }
            }
        }
    }

    /// All of a batch, in its order; what it changes is on disk when this returns.
    fn serve(&mut self, batch: &[Request]) -> Result<Vec<Result<Option<Bytes>, Fault>>, redb::Error> {
        let database = match &mut self.database {
            Some(database) => database,
            closed => closed.insert(Database::create(&self.file)?),
        };
        if batch.iter().all(|request| matches!(request.deed, Deed::Get)) {
            return read(database, batch);
        }
        let writing = database.begin_write()?;
        let answers = {
            let mut table = writing.open_table(VALUES)?;
            let mut counts: HashMap<&str, usize> = HashMap::new();
            let mut answers = Vec::new();
            for Request { service, name, deed, .. } in batch {
                let key = (service.as_str(), name.as_str());
                let answer = match deed {
                    Deed::Get => Ok(table.get(key)?.map(|value| Bytes::copy_from_slice(value.value()))),
                    Deed::Remove => {
                        table.remove(key)?;
                        Ok(None)
                    }
                    Deed::Set(value) => {
                        let full = table.get(key)?.is_none() && {
                            let of_service = table.range((key.0, "")..)?;
                            let own = of_service.take_while(|entry| {
                                entry.as_ref().is_ok_and(|(found, _)| found.value().0 == key.0)
                            });
                            *counts.entry(key.0).insert_entry(own.count()).get() >= MOST_VALUES
                        };
                        if full {
                            let why =
                                format!("a service has at most {MOST_VALUES} values in its configuration");
                            Err(Fault::new(Code::Overloaded, why))
                        } else {
                            table.insert(key, value.as_ref())?;
                            Ok(Some(value.clone()))
                        }
                    }
                };
                answers.push(answer);
            }
            answers
        };
        writing.commit()?;
        Ok(answers)
    }
}

fn read(database: &Database, batch: &[Request]) -> Result<Vec<Result<Option<Bytes>, Fault>>, redb::Error> {
    let reading = database.begin_read()?;
    let table = match reading.open_table(VALUES) {
        Ok(table) => table,
        // Nothing was ever set.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(batch.iter().map(|_| Ok(None)).collect()),
        Err(error) => return Err(error.into()),
    };
    let get = |request: &Request| {
        let value = table.get((request.service.as_str(), request.name.as_str()))?;
        Ok(Ok(value.map(|value| Bytes::copy_from_slice(value.value()))))
    };
    batch.iter().map(get).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn ask(deed: impl FnOnce(Done)) -> Result<Option<String>, String> {
        let (answer, answered) = channel();
        deed(Box::new(move |done| answer.send(done).unwrap()));
        let done = answered.recv().unwrap();
        done.map(|value| value.map(|value| String::from_utf8(value.to_vec()).unwrap()))
            .map_err(|fault| fault.to_string())
    }

    fn set(store: &ConfigStore, name: &str, value: Option<&'static str>) -> Result<Option<String>, String> {
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        check(name, value.as_ref()).map_err(|fault| fault.to_string())?;
        ask(|done| store.request(web(), name.into(), value.map_or(Deed::Remove, Deed::Set), done))
    }

    fn get(store: &ConfigStore, service: ServiceName, name: &str) -> Option<String> {
        ask(|done| store.get(service, name.into(), done)).unwrap()
    }

    fn web() -> ServiceName {
        ServiceName::parse("web").unwrap()
    }

    #[test]
    fn a_value_is_there_after_all_is_closed_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.redb");
        let store = ConfigStore::new(file.clone()).unwrap();
        assert_eq!(get(&store, web(), "limit"), None);
        assert_eq!(set(&store, "limit", Some("5")), Ok(Some("5".into())));
        set(&store, "gone", Some("1")).unwrap();
        set(&store, "gone", None).unwrap();
        drop(store);
        let store = loop {
            // The thread of the one before closes the file in its own time.
            let store = ConfigStore::new(file.clone()).unwrap();
            if ask(|done| store.get(web(), "limit".into(), done)).is_ok() {
                break store;
            }
        };
        assert_eq!(get(&store, web(), "limit").as_deref(), Some("5"));
        assert_eq!(get(&store, web(), "gone"), None);
        assert_eq!(
            get(&store, ServiceName::parse("other").unwrap(), "limit"),
            None,
            "it is the service's own"
        );
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = ConfigStore::new(folder.path().join("config.redb")).unwrap();
        assert_eq!(
            set(&store, "", Some("1")),
            Err("the name of a value has 1 to 256 bytes, this one has 0 (too-large)".into())
        );
        (0..MOST_VALUES).for_each(|index| {
            let deed = Deed::Set(Bytes::from_static(b"1"));
            store.request(web(), index.to_string(), deed, Box::new(|done| assert!(done.is_ok())));
            if index % 512 == 0 {
                get(&store, web(), "0");
            }
        });
        assert_eq!(
            set(&store, "one more", Some("1")),
            Err("a service has at most 1024 values in its configuration (overloaded)".into())
        );
        assert!(set(&store, "0", Some("2")).is_ok(), "one that is there can be changed");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_told() {
        let store = ConfigStore::new("/nowhere/config.redb".into()).unwrap();
        let error = set(&store, "a", Some("1")).unwrap_err();
        assert!(error.starts_with("the configuration cannot be kept in /nowhere/config.redb: "), "{error}");
    }
}
