// What the package offers, for TypeScript.

/** Milliseconds, or a text such as "1m30s". */
export type Duration = number | string;

export type Code =
  | "timeout"
  | "unavailable"
  | "denied"
  | "not-found"
  | "overloaded"
  | "too-large"
  | "service-error"
  | "cancelled";

/** Why a call has no result. */
export declare class CallError extends Error {
  constructor(about: { code?: Code; message?: string; service?: string; method?: string; name?: string; stack?: string });
  readonly code: Code;
  readonly service: string;
  readonly method: string;
  /** The name and the stack of what was thrown there. */
  readonly remoteName: string;
  readonly remoteStack: string;
}

export interface CallOptions {
  /** How long the call may take, all attempts together. */
  timeout?: Duration;
  /** How often it may be tried again; -1: as often as there is time. It may then run more than once. */
  retries?: number;
  /** How long one attempt may take. */
  attempt?: Duration;
  /** Calls with the same key go to the same member. */
  key?: string;
  /** Aborts the call. */
  signal?: AbortSignal;
}

/** A result that may be awaited, or gone through if it is a stream. */
export type Result<T = any> = Promise<T> & AsyncIterable<any>;

export interface Stream<T = any> extends AsyncIterableIterator<T> {
  return(value?: any): Promise<IteratorResult<T>>;
}

export interface Method {
  (...values: any[]): Result;
  /** The same without a result; waits until somebody has it. */
  send(...values: any[]): Promise<void>;
  options(options: CallOptions): Method;
  [name: string]: any;
}

export interface ServiceProxy {
  options(options: CallOptions): ServiceProxy;
  [method: string]: any;
}

export interface About {
  event: string;
  from: string;
}

export interface Current {
  /** Who calls, as in "web@shop". */
  readonly from: string;
  readonly service: string;
  readonly method: string;
  /** When the caller has no more time, as Date.now() says it. */
  readonly deadline: number;
  /** Aborted when the result is not wanted any more. */
  readonly signal: AbortSignal;
}

/** During a call of a service of this program: who has made it, and how long it may take. */
export declare function current(): Current | undefined;

export interface Registered {
  readonly name: string;
  readonly methods: string[];
  /** Offers it no longer, and resolves once what is under way is finished. */
  close(): Promise<void>;
}

export interface Configuration {
  get(name: string): Promise<any>;
  set(name: string, value: any): Promise<void>;
  remove(name: string): Promise<void>;
  watch(watcher: (name: string, value: any) => unknown): () => void;
  watch(name: string, watcher: (name: string, value: any) => unknown): () => void;
}

export interface Counts {
  forged: number;
  stale: number;
  replayed: number;
  stranger: number;
  malformed: number;
  /** Answers that nobody waited for any more. */
  late: number;
  /** Events that there was no room for. */
  lost: number;
}

export interface Member {
  name: string;
  host: string;
  kind: string;
  session: string;
  self: boolean;
  load: number;
  services: { name: string; replicas: number; load: number; methods: string[] }[];
}

export interface Fabric {
  readonly services: { readonly [name: string]: ServiceProxy };
  readonly status: "up" | "down";
  readonly counts: Counts;
  call(service: string, method: string, values?: any[], options?: CallOptions): Result;
  send(service: string, method: string, values?: any[], options?: CallOptions): Promise<void>;
  /** Tells an event; answers with how many it was sent to. */
  emit(event: string, data?: any): Promise<number>;
  on(event: string, handler: (data: any, about: About) => unknown, options?: { group?: string }): Promise<() => Promise<void>>;
  config(service: string): Configuration;
  register(name: string, methods: object, options?: { maxInFlight?: number }): Promise<Registered>;
  members(): Member[];
  /** Hears "up", "down" with the reason, and "refused" with the kind of packet. */
  onStatus(told: (status: "up" | "down" | "refused", about?: string) => void): () => void;
  close(): Promise<void>;
}

export interface CommonOptions {
  /** What this program is called in the fabric: a DNS label. */
  name?: string;
  callTimeout?: Duration;
  onStatus?: (status: "up" | "down" | "refused", about?: string) => void;
  /** Hears what handlers and watchers have thrown; without it, that is written to standard error. */
  onError?: (error: unknown, what: string) => void;
  timeout?: Duration;
}

export interface FabricOptions extends CommonOptions {
  redis:
    | string
    | { host?: string; port?: number; db?: number; username?: string; password?: string; tls?: boolean | object };
  key: string | Uint8Array;
  prefix?: string;
}

export interface SocketOptions extends CommonOptions {
  socket: string;
}

export interface ProjectOptions extends CommonOptions {
  project: string;
}

/** Joins a fabric, or attaches to an orchestrator on this host. */
export declare function connect(options: FabricOptions | SocketOptions | ProjectOptions): Promise<Fabric>;
