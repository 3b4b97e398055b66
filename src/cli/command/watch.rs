//! The second half of `orchestrator up`: shows what happens until the project has ended and all of it has been shown.
//!
//! One loop waits for signals, for what there is to show, and for the end. It never writes: a [`Writer`] does, so that
//! a signal is heard whatever the terminal does.

use std::time::Duration;

use orchestrator_core::report::{Finish, FinishCause};
use orchestrator_core::supervisor::Request;
use orchestrator_manager::ManagerHandle;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::interrupts::Interrupts;
use crate::news::News;
use crate::screen::Screen;
use crate::writer::{PATIENCE, Text, Writer};

/// How often the table of a start is painted.
const REPAINT: Duration = Duration::from_millis(100);

/// Shows what happens, and asks for the end when a signal does, or when nobody reads what is shown.
pub(crate) async fn watch(
    mut handle: ManagerHandle,
    mut news: News,
    mut interrupts: Interrupts,
    mut complaints: mpsc::Receiver<String>,
    mut screen: Screen,
    writer: Writer,
) -> Outcome {
    let (mut ended, mut gone, mut still) = (None, false, false);
    let mut repaint = interval(REPAINT);
    repaint.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !(ended.is_some() && (gone || still)) {
        tokio::select! {
            wish = interrupts.next() => {
                writer.now(Screen::answer(wish));
                ask(&handle, wish.request(&handle.snapshot())).await;
            }
            Some(text) = complaints.recv() => writer.now(Text::Err(text)),
            () = writer.gone(), if !gone => {
                gone = true;
                ask(&handle, Request::Shutdown).await;
            }
            (room, item) = writer.when_room(news.next()) => match item {
                Some(item) => room.write(screen.show(&item)),
                None => break,
            },
            _ = repaint.tick(), if screen.is_painted() && ended.is_none() => {
                writer.now(screen.table(&handle.snapshot(), super::now()));
            }
            finish = handle.finished(), if ended.is_none() => ended = Some(finish),
            // Nothing could be shown for so long: the terminal stands still, or is not there any more.
            () = sleep(PATIENCE), if ended.is_some() => still = true,
        }
    }
    // The log is whole on the disk when its end can be read.
    while news.next().await.is_some() {}
    let finish = match ended {
        Some(finish) => finish,
        None => handle.finished().await,
    };
    if !still {
        writer.end().await;
    }
    Ok(code(&finish))
}

/// A project that has ended meanwhile needs no asking.
async fn ask(handle: &ManagerHandle, request: Request) {
    let _ = handle.submit(request).await;
}

fn code(finish: &Finish) -> Code {
    match finish.cause {
        FinishCause::Killed => Code::Killed,
        _ if finish.exit_code == 0 => Code::Ok,
        _ => Code::Of(finish.exit_code),
    }
}
