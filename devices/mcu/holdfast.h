/*
 * Holdfast's client for a microcontroller on a serial line: C99, no allocation, nothing of libc but <string.h>.
 * README.md says what it keeps and costs, ../serial/PROTOCOL.md what it speaks.
 *
 * All of it belongs to the main loop: fill a ring in the interrupt and empty it there. Callbacks run in hf_receive();
 * what they are given lives until they return. Texts given to the client (id, series, path, value) are kept by pointer.
 */
#ifndef HOLDFAST_H
#define HOLDFAST_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef HF_LINE_MAX /* the longest line it takes, in bytes with the newline: told in the hello */
#define HF_LINE_MAX 176u
#endif
#ifndef HF_QUEUE /* measurements kept until they are acknowledged; the oldest goes first, counted as `dropped` */
#define HF_QUEUE 6u
#endif
#ifndef HF_IN_FLIGHT /* measurements that wait for an answer at once: answers, 40 bytes each, must fit into the ring */
#define HF_IN_FLIGHT 3u
#endif
#ifndef HF_COMMANDS /* commands it knows again, to give the answer that they got */
#define HF_COMMANDS 4u
#endif
typedef struct { const char *at; uint16_t length; } hf_slice;
/* HF_OTHER: an array, or a number beyond 9 digits or with an exponent; `text` is its JSON. */
typedef enum { HF_NULL, HF_BOOL, HF_NUMBER, HF_TEXT, HF_OTHER } hf_kind;

/* A number is number / 10^decimals: no floats. A text that arrived has its escapes: hf_copy_text() takes them out. */
typedef struct {
  uint8_t kind, decimals;
  union { int32_t number; hf_slice text; } as;
} hf_value;

/* One leaf of the shadow: set `path` and `value`, the rest is the client's. */
typedef struct { const char *path; hf_value value; uint16_t ref; uint8_t flight; } hf_leaf;
typedef enum { HF_LATER, HF_SUCCEEDED, HF_FAILED, HF_REJECTED, HF_EXPIRED } hf_status;
typedef enum { HF_SEEKING, HF_ONLINE, HF_REFUSED, HF_FENCED } hf_state;
typedef struct {
  const char *id, *model;  /* as site.yaml names them */
  const char *version;     /* of this firmware: what a campaign compares */
  const char *boot;        /* another text after each start: a counter in EEPROM, say */
  hf_leaf *leaves;
  uint8_t leaf_count;
  void *user;
  void (*send)(void *user, uint8_t byte);
  uint32_t (*now_ms)(void *user); /* since the start; may wrap */
  /* Apply what is wanted and put what is so now into leaf->value: that is reported. HF_NULL: nothing is wanted. */
  void (*on_delta)(void *user, hf_leaf *leaf, const hf_value *wanted);
  /* Once a command. HF_LATER: hf_finish(slot) says it later. A text as `result` of what failed is its error. */
  hf_status (*on_command)(void *user, uint8_t slot, hf_slice type, hf_slice payload, hf_value *result);
  void (*on_bootloader)(void *user); /* optional: leave for the boot loader */
  void (*on_time)(void *user); /* optional: hf_time() has news */
} hf_config;

/* One client a program: this is all of its memory, here to be counted and looked at. */
typedef struct { const char *series; hf_value value; uint32_t at_s; uint8_t flight; } hf_point;
typedef struct { uint32_t id; hf_value result; uint16_t seen_s; uint8_t status; bool is_awaited; } hf_slot;
typedef struct {
  const hf_config *config;
  uint32_t crc, seq, version;                  /* of what is being sent; of the next measurement; of the last delta */
  uint32_t uptime_s, epoch_s;                  /* since the start; of the start, by the gateway's clock */
  uint16_t hello_s, heard_s, aged_s, asked_s;  /* by uptime_s: the last hello, frame, ageing, word of the clock */
  uint16_t ticked_ms, epoch_ms;                /* now_ms() when the uptime was that; what is beyond the seconds */
  uint16_t ref, line_length;                   /* of the last report; so far */
  uint16_t refused_lines;                      /* overlong, changed on the way, or no frame */
  uint8_t hello_wait_s, state, get_flight, time_flight, queue_length;
  bool is_trusted;
  hf_slice frame;                              /* that is being taken */
  hf_leaf dropped;                             /* reported as any other: measurements that were lost here */
  hf_point queue[HF_QUEUE];
  hf_slot slots[HF_COMMANDS];
  char line[HF_LINE_MAX];
} hf_client;
extern hf_client hf;

void hf_open(const hf_config *config);
void hf_receive(uint8_t byte); /* what arrived */
void hf_poll(void); /* often, and once a minute at least: sends at most one frame a call */
void hf_measure(const char *series, hf_value value);
void hf_report(hf_leaf *leaf, hf_value value); /* what the leaf is now */
void hf_finish(uint8_t slot, hf_status status, hf_value result); /* of a command that was HF_LATER */
bool hf_time(uint32_t *epoch_s); /* the gateway's clock, to a second; false: it is not to be relied on */

hf_value hf_null(void);
hf_value hf_bool(bool is_true);
hf_value hf_number(int32_t number, uint8_t decimals); /* 9 decimals at most */
hf_value hf_text(const char *text);
bool hf_find(hf_slice json, const char *path, hf_value *found); /* "a/b" is a leaf of an object, "" the whole */
bool hf_is(hf_slice slice, const char *text);
bool hf_scaled(const hf_value *value, uint8_t decimals, int32_t *number); /* 21.5, 2: 2150; false: none, or too large */
bool hf_copy_text(const hf_value *value, char *to, uint16_t size); /* ends it with a NUL; false: no text, or cut */

#ifdef __cplusplus
}
#endif
#endif
