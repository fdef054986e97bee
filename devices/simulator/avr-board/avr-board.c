/*
 * A simulated AVR board: a real boot loader and a real application run in simavr, behind a pseudo-terminal.
 *
 *   avr-board --mcu atmega328p --boot LOADER.hex --flash FILE [--application APP.hex] [--link PATH] [--open-reset] [--fast FACTOR]
 *
 * The flash is FILE and survives a kill; the application is loaded into it when it is new, as over a programmer. Reset enters the loader
 * (the fuse BOOTRST). --open-reset: the board resets when a host opens the line, as an Arduino does.
 *
 * Commands, a line each on stdin; its end ends the board:
 *   reset | hold | release           the reset pin, for a moment or until it is released (also SIGUSR1)
 *   power-cycle | power-off | power-on                                          (also SIGUSR2: a cycle)
 *   cut N [before|during|after]      power fails at the N-th erase or write of a page from now; 0 takes it back
 *
 * Events, a line each on stdout:
 *   ready TERMINAL LOADER-START      once
 *   reset power-on|external|watchdog|nothing      nothing: without power
 *   power off
 *   host opened|closed
 *   erased ADDRESS N | written ADDRESS N | cut erase|write ADDRESS N      N counts both since the start
 *   application started ADDRESS      it ran for 0.1 ms outside of the loader; ADDRESS is where it entered
 *   loader entered                   the application jumped there
 *   crashed ADDRESS | overrun        the processor stands; bytes came too fast for the receiver
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "board.h"

enum { FREQUENCY = 16000000, SLICE_CYCLES = FREQUENCY / 1000, SETTLED_CYCLES = FREQUENCY / 10000, BOUNCE_CYCLES = FREQUENCY / 100 };

static volatile sig_atomic_t wants_reset, wants_power_cycle, wants_end;
static avr_t *avr;
static uint32_t loader_start;
static bool is_powered, is_held, has_stopped, opens_reset;
static bool came_from_watchdog;
static double fast = 1;
/* Where the processor is: in the loader, or since `left_at` outside of it. */
static bool in_loader, has_settled, bounces;
static uint32_t entered_at;
static avr_cycle_count_t left_at;
/* What simulated and real time are counted from. */
static avr_cycle_count_t base_cycle, next_slice;
static double base_seconds;

void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
}

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("avr-board: ", stderr);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static void on_signal(int number) {
  if (number == SIGUSR1) wants_reset = 1;
  else if (number == SIGUSR2) wants_power_cycle = 1;
  else wants_end = 1;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void restart_clock(void) {
  base_cycle = avr->cycle;
  next_slice = base_cycle + SLICE_CYCLES;
  base_seconds = seconds();
}

/* simavr calls it within every reset, so also within those that the watchdog made. */
static void on_simavr_reset(avr_io_t *io) {
  (void)io;
  came_from_watchdog = true;
}

static void after_reset(const char *cause) {
  line_reset();
  in_loader = true;
  has_settled = bounces = has_stopped = came_from_watchdog = false;
  restart_clock();
  say("reset %s", cause);
}

static void reset_pin(void) {
  if (!is_powered) {
    say("reset nothing");
    return;
  }
  /* Flags add up until the program clears them; simavr forgets them. */
  bool porf = avr_regbit_get(avr, avr->reset_flags.porf), wdrf = avr_regbit_get(avr, avr->reset_flags.wdrf);
  avr_reset(avr);
  avr_regbit_setto(avr, avr->reset_flags.porf, porf);
  avr_regbit_setto(avr, avr->reset_flags.wdrf, wdrf);
  avr_regbit_set(avr, avr->reset_flags.extrf);
  after_reset("external");
}

static void power_on(void) {
  if (is_powered) return;
  is_powered = true;
  memset(avr->data, 0, avr->ramend + 1);
  avr_reset(avr);
  avr_regbit_set(avr, avr->reset_flags.porf);
  after_reset("power-on");
}

static void power_off(void) {
  is_powered = false;
  line_reset();
  say("power off");
}

static void obey(char *command) {
  char moment[16] = "before";
  unsigned operation;
  if (strcmp(command, "reset") == 0) reset_pin();
  else if (strcmp(command, "hold") == 0) is_held = true;
  else if (strcmp(command, "release") == 0) { if (is_held) { is_held = false; reset_pin(); } }
  else if (strcmp(command, "power-cycle") == 0) { power_off(); power_on(); }
  else if (strcmp(command, "power-off") == 0) power_off();
  else if (strcmp(command, "power-on") == 0) power_on();
  else if (sscanf(command, "cut %u %15s", &operation, moment) >= 1) {
    flash_cut_at(operation, moment[0] == 'b' ? CUT_BEFORE : moment[0] == 'd' ? CUT_DURING : CUT_AFTER);
  } else fail("no such command: %s", command);
}

static void read_commands(void) {
  static char text[256];
  static size_t length;
  ssize_t count = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
  if (count == 0) wants_end = 1;
  if (count <= 0) return;
  length += (size_t)count;
  for (char *end; (end = memchr(text, '\n', length)) != NULL;) {
    size_t taken = (size_t)(end - text) + 1;
    *end = '\0';
    obey(text);
    memmove(text, text + taken, length -= taken);
  }
  if (length == sizeof text - 1) fail("a command is too long");
}

static void follow(void) {
  avr_cycle_count_t outside = avr->cycle - left_at;
  if (avr->pc >= loader_start) {
    if (!in_loader) {
      if (has_settled) say("loader entered");
      /* Through erased flash it is back at once, and away again: said once. */
      bounces = outside < BOUNCE_CYCLES;
    }
    in_loader = true;
    has_settled = false;
  } else if (in_loader) {
    in_loader = false;
    entered_at = avr->pc;
    left_at = avr->cycle;
  } else if (!has_settled && outside > (bounces ? BOUNCE_CYCLES : SETTLED_CYCLES)) {
    has_settled = true;
    say("application started 0x%x", entered_at);
  }
}

static void run_one(void) {
  avr_cycle_count_t before = avr->cycle;
  line_clock();
  int state = avr_run(avr);
  if (came_from_watchdog) after_reset("watchdog");
  if (avr->cycle < before) restart_clock();
  if (state == cpu_Crashed || state == cpu_Done) {
    say("crashed 0x%x", avr->pc);
    has_stopped = true;
  }
  follow();
  if (flash_was_cut()) power_off();
}

/* A second of the board is a second, or one n-th: a boot loader's window and a host's deadline meet as they would on a desk. */
static void keep_time(void) {
  double ahead = (double)(avr->cycle - base_cycle) / FREQUENCY / fast - (seconds() - base_seconds);
  if (ahead > 0.0005) {
    struct timespec pause = {(time_t)ahead, (long)((ahead - (double)(time_t)ahead) * 1e9)};
    nanosleep(&pause, NULL);
  } else if (ahead < -0.1) {
    restart_clock(); /* the machine is too slow; no hurry to catch up */
  }
}

static void sleep_no_longer(avr_t *board, avr_cycle_count_t cycles) {
  (void)board;
  (void)cycles;
}

static void open_board(int count, char **arguments) {
  static const struct option known[] = {{"mcu", 1, 0, 'm'}, {"boot", 1, 0, 'b'}, {"flash", 1, 0, 'f'}, {"application", 1, 0, 'a'},
    {"link", 1, 0, 'l'}, {"open-reset", 0, 0, 'o'}, {"fast", 1, 0, 'x'}, {0, 0, 0, 0}};
  const char *mcu = "atmega328p", *boot = NULL, *flash = NULL, *application = NULL, *link_path = NULL;
  for (int option; (option = getopt_long(count, arguments, "", known, NULL)) != -1;) {
    if (option == 'm') mcu = optarg;
    else if (option == 'b') boot = optarg;
    else if (option == 'f') flash = optarg;
    else if (option == 'a') application = optarg;
    else if (option == 'l') link_path = optarg;
    else if (option == 'o') opens_reset = true;
    else if (option == 'x') fast = atof(optarg);
    else exit(2);
  }
  if (boot == NULL || flash == NULL || fast <= 0) fail("--boot and --flash are needed, and a factor above 0");
  avr = avr_make_mcu_by_name(mcu);
  if (avr == NULL) fail("simavr has no %s", mcu);
  avr_init(avr);
  avr->frequency = FREQUENCY;
  avr->log = LOG_ERROR;
  avr->sleep = sleep_no_longer;
  static avr_io_t watcher = {.kind = "board", .reset = on_simavr_reset};
  avr_register_io(avr, &watcher);

  bool was_empty;
  flash_open(avr, flash, &was_empty);
  loader_start = flash_load(avr, boot);
  if (application != NULL && was_empty) flash_load(avr, application);
  avr->reset_pc = loader_start;
  line_open(avr, link_path);
}

int main(int count, char **arguments) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGUSR2, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  open_board(count, arguments);
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  say("ready %s 0x%x", line_path(), loader_start);
  power_on();
  while (!wants_end) {
    if (wants_reset) { wants_reset = 0; reset_pin(); }
    if (wants_power_cycle) { wants_power_cycle = 0; power_off(); power_on(); }
    if (is_powered && !is_held && !has_stopped) run_one();
    else avr->cycle += SLICE_CYCLES;
    if (avr->cycle < next_slice) continue;
    next_slice = avr->cycle + SLICE_CYCLES;
    if (line_exchange(is_powered && !is_held && !has_stopped) && opens_reset) reset_pin();
    read_commands();
    keep_time();
  }
  line_close();
  return 0;
}
