//! Everything the event loop waits for, in one place.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::Event;
use crate::net;

/// Most events of each source taken in one wake-up: what bounds a step, and with it the time until heartbeats leave.
const DRAIN_EVENTS_MAX: usize = 256;

/// The event loop's sources.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Few, and never to be held up: the writer and the signals.
    urgent: mpsc::UnboundedReceiver<Event>,
    /// From the sockets; bounded, so that they slow down when the loop does.
    net: mpsc::Receiver<net::Event>,
    net_events: Vec<net::Event>,
    /// Set to the core's deadline or earlier: a deadline that moves on, as most do, costs nothing.
    alarm: Pin<Box<Sleep>>,
}

impl Inbox {
    pub(super) fn new(
        urgent: mpsc::UnboundedReceiver<Event>,
        net: mpsc::Receiver<net::Event>,
        deadline: Instant,
    ) -> Inbox {
        let alarm = Box::pin(tokio::time::sleep_until(deadline));
        Inbox { urgent, net, net_events: Vec::new(), alarm }
    }

    /// Waits until something has happened or `deadline` has come, then takes all that is there.
    pub(super) async fn wait(&mut self, deadline: Instant, events: &mut Vec<Event>) {
        if deadline < self.alarm.deadline() || self.alarm.is_elapsed() {
            self.alarm.as_mut().reset(deadline);
        }
        poll_fn(|context| {
            // All three are polled, so that each wakes us next time.
            let urgent = self.urgent.poll_recv_many(context, events, DRAIN_EVENTS_MAX).is_ready();
            let net =
                self.net.poll_recv_many(context, &mut self.net_events, DRAIN_EVENTS_MAX).is_ready();
            let alarm = self.alarm.as_mut().poll(context).is_ready();
            if urgent || net || alarm { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        events.extend(self.net_events.drain(..).map(Event::Net));
    }
}
