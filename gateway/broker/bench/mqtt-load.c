/*
 * mqtt-load: a load generator for MQTT 3.1.1 brokers. One thread, epoll, packets written by hand, so that the generator is
 * never the slower side. Prints one line of JSON.
 *
 *   mqtt-load publish --port P --clients N --window W --bytes B --seconds S [--warmup S]
 *       N clients publish QoS 1 with W unacknowledged at most; counts acknowledgements and their latency.
 *   mqtt-load latency --port P --clients N --rate R --bytes B --seconds S [--warmup S]
 *       R publishes a second from N clients to one subscriber of all; measures publish to delivery.
 *   mqtt-load idle --port P --clients N --seconds S
 *       N clients connect and stay; prints "connected" first, so that the caller can look at the broker.
 *
 *   also: --user U --password X, --topic PREFIX (each client publishes to PREFIX/<number>)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBACK = 9 };
enum { MAX_WINDOW = 1024, INPUT_BYTES = 65536 };

struct client {
  int fd;
  int number;
  int is_subscriber;
  int is_ready;
  /* Bytes the socket did not take yet. */
  unsigned char *out;
  size_t out_length, out_capacity;
  unsigned char *in;
  size_t in_length;
  /* The PUBLISH packet, made once; packet id and time stamp are written over it. */
  unsigned char *publish;
  size_t publish_length, packet_id_at, payload_at;
  uint16_t packet_id;
  int unacknowledged;
  uint64_t sent_at[MAX_WINDOW];
};

static struct {
  const char *mode, *user, *password, *topic;
  int port, clients, window, bytes, rate;
  double seconds, warmup;
} options = {.topic = "load", .clients = 1, .window = 20, .bytes = 200, .rate = 1000, .seconds = 5, .warmup = 1};

static int epoll_fd;
static struct client *clients;
static int client_count, ready_count;
static int is_running;
static uint64_t acknowledged, delivered;

/* ---- time and latency ---- */

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Microseconds: exact up to 1,023, from there 128 steps to each power of two (under 1 % off). */
enum { EXACT = 1024, STEPS = 128, BUCKETS = EXACT + 54 * STEPS };
static uint64_t latency[BUCKETS];

static void record(uint64_t since_ns) {
  uint64_t us = (now_ns() - since_ns) / 1000;
  int bucket = (int)us;
  if (us >= EXACT) {
    int power = 63 - __builtin_clzll(us);
    bucket = EXACT + (power - 10) * STEPS + (int)((us >> (power - 7)) & (STEPS - 1));
  }
  latency[bucket]++;
}

static uint64_t percentile(double share) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < BUCKETS; i++) total += latency[i];
  for (int i = 0; i < BUCKETS; i++) {
    seen += latency[i];
    if (total > 0 && seen > (uint64_t)((double)total * share)) {
      if (i < EXACT) return (uint64_t)i;
      int power = (i - EXACT) / STEPS + 10;
      return (1ull << power) + ((uint64_t)((i - EXACT) % STEPS) << (power - 7));
    }
  }
  return 0;
}

/* ---- sockets ---- */

static void fail(const char *what) {
  fprintf(stderr, "mqtt-load: %s: %s\n", what, errno ? strerror(errno) : "refused");
  exit(1);
}

static void watch(struct client *client, int operation, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = client};
  if (epoll_ctl(epoll_fd, operation, client->fd, &event) < 0) fail("epoll_ctl");
}

static void append(struct client *client, const void *bytes, size_t length) {
  if (client->out_length + length > client->out_capacity) {
    client->out_capacity = (client->out_length + length) * 2;
    client->out = realloc(client->out, client->out_capacity);
    if (client->out == NULL) fail("realloc");
  }
  memcpy(client->out + client->out_length, bytes, length);
  client->out_length += length;
}

static void flush(struct client *client) {
  size_t written = 0;
  while (written < client->out_length) {
    ssize_t count = send(client->fd, client->out + written, client->out_length - written, MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) fail("send");
    written += (size_t)count;
  }
  memmove(client->out, client->out + written, client->out_length - written);
  client->out_length -= written;
  watch(client, EPOLL_CTL_MOD, EPOLLIN | (client->out_length > 0 ? EPOLLOUT : 0));
}

/* ---- packets ---- */

static size_t put_text(unsigned char *at, const char *text) {
  size_t length = strlen(text);
  at[0] = (unsigned char)(length >> 8);
  at[1] = (unsigned char)length;
  memcpy(at + 2, text, length);
  return length + 2;
}

static size_t put_length(unsigned char *at, size_t length) {
  size_t count = 0;
  do {
    at[count] = (unsigned char)(length & 127);
    length >>= 7;
    if (length > 0) at[count] |= 128;
    count++;
  } while (length > 0);
  return count;
}

static void send_connect(struct client *client) {
  unsigned char body[512], header[8] = {0x10};
  char id[64];
  size_t length = put_text(body, "MQTT");
  snprintf(id, sizeof id, "bench:load-%d-%d", getpid(), client->number);
  body[length++] = 4;
  body[length++] = (unsigned char)(2 | (options.user ? 128 : 0) | (options.password ? 64 : 0));
  body[length++] = 0;
  body[length++] = 60;
  length += put_text(body + length, id);
  if (options.user) length += put_text(body + length, options.user);
  if (options.password) length += put_text(body + length, options.password);
  append(client, header, 1 + put_length(header + 1, length));
  append(client, body, length);
}

static void send_subscribe(struct client *client) {
  unsigned char body[256] = {0, 1}, header[8] = {0x82};
  char filter[128];
  snprintf(filter, sizeof filter, "%s/+", options.topic);
  size_t length = 2 + put_text(body + 2, filter);
  body[length++] = 0;
  append(client, header, 1 + put_length(header + 1, length));
  append(client, body, length);
}

static const char json_head[] = "{\"sent\":\"";
static const char json_middle[] = "\",\"temperature\":21.5,\"humidity\":48,\"note\":\"";
enum { SENT_AT = sizeof json_head - 1, SENT_DIGITS = 16, LEAST_BYTES = 80 };

static void put_sent(unsigned char *payload, uint64_t time_ns) {
  for (int i = SENT_DIGITS - 1; i >= 0; i--, time_ns >>= 4)
    payload[SENT_AT + i] = (unsigned char)"0123456789abcdef"[time_ns & 15];
}

static uint64_t get_sent(const unsigned char *payload) {
  char digits[SENT_DIGITS + 1] = {0};
  memcpy(digits, payload + SENT_AT, SENT_DIGITS);
  return strtoull(digits, NULL, 16);
}

static void make_publish(struct client *client) {
  char topic[128];
  snprintf(topic, sizeof topic, "%s/%d", options.topic, client->number);
  size_t body = 2 + strlen(topic) + 2 + (size_t)options.bytes;
  unsigned char *packet = malloc(body + 8);
  if (packet == NULL) fail("malloc");
  size_t length = 0;
  packet[length++] = 0x32;
  length += put_length(packet + length, body);
  length += put_text(packet + length, topic);
  client->packet_id_at = length;
  client->payload_at = length + 2;
  length += 2;
  /* A JSON object of the size asked for, with a place for the time it is sent. */
  unsigned char *payload = packet + length;
  memset(payload, 'x', (size_t)options.bytes);
  memcpy(payload, json_head, SENT_AT);
  memcpy(payload + SENT_AT + SENT_DIGITS, json_middle, sizeof json_middle - 1);
  memcpy(payload + options.bytes - 2, "\"}", 2);
  length += (size_t)options.bytes;
  client->publish = packet;
  client->publish_length = length;
}

static void send_publish(struct client *client) {
  uint64_t now = now_ns();
  if (++client->packet_id == 0) client->packet_id = 1;
  client->publish[client->packet_id_at] = (unsigned char)(client->packet_id >> 8);
  client->publish[client->packet_id_at + 1] = (unsigned char)client->packet_id;
  put_sent(client->publish + client->payload_at, now);
  client->sent_at[client->packet_id % MAX_WINDOW] = now;
  client->unacknowledged++;
  append(client, client->publish, client->publish_length);
}

static void fill_window(struct client *client) {
  if (!is_running || client->is_subscriber || strcmp(options.mode, "publish") != 0) return;
  int before = client->unacknowledged;
  while (client->unacknowledged < options.window) send_publish(client);
  if (client->unacknowledged > before) flush(client);
}

static void take_packet(struct client *client, unsigned char first, const unsigned char *body) {
  switch (first >> 4) {
    case CONNACK:
      if (body[1] != 0) fail("CONNACK");
      if (client->is_subscriber) {
        send_subscribe(client);
        flush(client);
        break;
      }
      /* fall through */
    case SUBACK:
      client->is_ready = 1;
      ready_count++;
      break;
    case PUBACK: {
      int packet_id = body[0] << 8 | body[1];
      client->unacknowledged--;
      acknowledged++;
      if (strcmp(options.mode, "publish") == 0) record(client->sent_at[packet_id % MAX_WINDOW]);
      break;
    }
    case PUBLISH: {
      delivered++;
      record(get_sent(body + 2 + (body[0] << 8 | body[1])));
      break;
    }
  }
}

static void read_packets(struct client *client) {
  ssize_t count = recv(client->fd, client->in + client->in_length, INPUT_BYTES - client->in_length, 0);
  if (count == 0) {
    errno = 0;
    fail("the broker closed a connection");
  }
  if (count < 0) {
    if (errno == EAGAIN) return;
    fail("recv");
  }
  client->in_length += (size_t)count;
  size_t at = 0;
  for (;;) {
    size_t length = 0, header = 1;
    int shift = 0, is_whole = 0;
    while (at + header < client->in_length && header <= 4) {
      unsigned char byte = client->in[at + header++];
      length |= (size_t)(byte & 127) << shift;
      shift += 7;
      if (byte < 128) {
        is_whole = 1;
        break;
      }
    }
    if (!is_whole || client->in_length - at < header + length) break;
    take_packet(client, client->in[at], client->in + at + header);
    at += header + length;
  }
  memmove(client->in, client->in + at, client->in_length - at);
  client->in_length -= at;
  fill_window(client);
}

static void poll_once(int64_t timeout_ns) {
  struct epoll_event events[512];
  struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
  int count = epoll_pwait2(epoll_fd, events, 512, &timeout, NULL);
  for (int i = 0; i < count; i++) {
    struct client *client = events[i].data.ptr;
    if (events[i].events & EPOLLOUT) flush(client);
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_packets(client);
  }
}

static void open_client(struct client *client, int number, int is_subscriber) {
  struct sockaddr_in broker = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
  int one = 1;
  client->number = number;
  client->is_subscriber = is_subscriber;
  client->in = malloc(INPUT_BYTES);
  inet_pton(AF_INET, "127.0.0.1", &broker.sin_addr);
  client->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (client->fd < 0 || client->in == NULL) fail("socket");
  setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(client->fd, (struct sockaddr *)&broker, sizeof broker) < 0) fail("connect");
  make_publish(client);
  watch(client, EPOLL_CTL_ADD, EPOLLIN);
  send_connect(client);
  flush(client);
}

static void open_clients(void) {
  int subscribers = strcmp(options.mode, "latency") == 0 ? 1 : 0;
  client_count = options.clients + subscribers;
  clients = calloc((size_t)client_count, sizeof *clients);
  uint64_t deadline = now_ns() + 60000000000u;
  for (int i = 0; i < client_count; i++) {
    open_client(&clients[i], i, i < subscribers);
    /* At most 50 on their way in at a time. */
    while (i + 1 - ready_count >= 50 && now_ns() < deadline) poll_once(10000000);
  }
  while (ready_count < client_count && now_ns() < deadline) poll_once(10000000);
  errno = ETIMEDOUT;
  if (ready_count < client_count) fail("connecting");
}

static void run_until(uint64_t end, uint64_t start, uint64_t *paced) {
  uint64_t now;
  while ((now = now_ns()) < end) {
    if (strcmp(options.mode, "latency") != 0) {
      poll_once(20000000);
      continue;
    }
    uint64_t due = (uint64_t)((double)(now - start) / 1e9 * options.rate);
    while (*paced < due) {
      struct client *client = &clients[1 + *paced % (uint64_t)options.clients];
      send_publish(client);
      flush(client);
      (*paced)++;
    }
    uint64_t next = start + (uint64_t)((double)(*paced + 1) / options.rate * 1e9);
    now = now_ns();
    poll_once(next > now ? (int64_t)(next - now) : 0);
  }
}

static void read_options(int count, char **values) {
  if (count < 2) fail("publish, latency or idle");
  options.mode = values[1];
  for (int i = 2; i + 1 < count; i += 2) {
    const char *name = values[i], *value = values[i + 1];
    if (!strcmp(name, "--port")) options.port = atoi(value);
    else if (!strcmp(name, "--clients")) options.clients = atoi(value);
    else if (!strcmp(name, "--window")) options.window = atoi(value);
    else if (!strcmp(name, "--bytes")) options.bytes = atoi(value);
    else if (!strcmp(name, "--rate")) options.rate = atoi(value);
    else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
    else if (!strcmp(name, "--warmup")) options.warmup = atof(value);
    else if (!strcmp(name, "--user")) options.user = value;
    else if (!strcmp(name, "--password")) options.password = value;
    else if (!strcmp(name, "--topic")) options.topic = value;
    else fail(name);
  }
  if (options.window >= MAX_WINDOW || options.bytes < LEAST_BYTES) fail("--window under 1024, --bytes from 80");
}

int main(int count, char **values) {
  read_options(count, values);
  struct rlimit files = {65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  epoll_fd = epoll_create1(0);
  open_clients();
  if (strcmp(options.mode, "idle") == 0) {
    printf("connected\n");
    fflush(stdout);
    uint64_t end = now_ns() + (uint64_t)(options.seconds * 1e9), none = 0;
    run_until(end, 0, &none);
    return 0;
  }
  is_running = 1;
  uint64_t start = now_ns(), paced = 0;
  for (int i = 0; i < client_count; i++) fill_window(&clients[i]);
  uint64_t measured = start + (uint64_t)(options.warmup * 1e9);
  run_until(measured, start, &paced);
  acknowledged = delivered = 0;
  memset(latency, 0, sizeof latency);
  uint64_t from = now_ns();
  run_until(from + (uint64_t)(options.seconds * 1e9), start, &paced);
  double seconds = (double)(now_ns() - from) / 1e9;
  printf("{\"acknowledged\":%lu,\"delivered\":%lu,\"seconds\":%.3f,\"perSecond\":%.0f,\"p50Us\":%lu,\"p99Us\":%lu}\n",
         acknowledged, delivered, seconds, (double)acknowledged / seconds, percentile(0.5), percentile(0.99));
  return 0;
}
