/*
 * Modem lines for pseudo-terminals, which have none: preloaded into a program that opens simulated boards (LD_PRELOAD), it keeps DTR and RTS for
 * those of them that a board stands behind, and resets the board when DTR goes on, as an Arduino's capacitor does.
 *
 * HOLDFAST_BOARDS is the folder with the links to the boards' terminals; beside each link stands LINK.pid, the process of the board.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MOST_FILES = 4096, PATH_BYTES = 4096 };

/* What is off; a port opens with both on. */
static int off[MOST_FILES];

static int pid_beside(const char *link) {
  char path[PATH_BYTES];
  int pid = 0;
  snprintf(path, sizeof path, "%s.pid", link);
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  if (fscanf(file, "%d", &pid) != 1) pid = 0;
  fclose(file);
  return pid;
}

/* The board behind a terminal; 0 where there is none. */
static int board_of(int file) {
  const char *folder = getenv("HOLDFAST_BOARDS");
  char own[64], terminal[PATH_BYTES], link[PATH_BYTES], target[PATH_BYTES];
  snprintf(own, sizeof own, "/proc/self/fd/%d", file);
  ssize_t length = readlink(own, terminal, sizeof terminal - 1);
  if (folder == NULL || file < 0 || file >= MOST_FILES || length <= 0) return 0;
  terminal[length] = '\0';
  DIR *entries = opendir(folder);
  if (entries == NULL) return 0;
  int pid = 0;
  for (struct dirent *entry; pid == 0 && (entry = readdir(entries)) != NULL;) {
    snprintf(link, sizeof link, "%s/%s", folder, entry->d_name);
    length = readlink(link, target, sizeof target - 1);
    if (length <= 0) continue;
    target[length] = '\0';
    if (strcmp(target, terminal) == 0) pid = pid_beside(link);
  }
  closedir(entries);
  return pid;
}

static void change(int file, int board, int now_off) {
  int goes_on = off[file] & TIOCM_DTR & ~now_off;
  off[file] = now_off;
  if (goes_on) kill(board, SIGUSR1);
}

int ioctl(int file, unsigned long request, ...) {
  static int (*real_ioctl)(int, unsigned long, ...);
  if (real_ioctl == NULL) real_ioctl = dlsym(RTLD_NEXT, "ioctl");
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  const int both = TIOCM_DTR | TIOCM_RTS;
  int is_modem = request == TIOCMGET || request == TIOCMSET || request == TIOCMBIS || request == TIOCMBIC || request == TIOCSBRK || request == TIOCCBRK;
  int board = is_modem ? board_of(file) : 0;
  if (board == 0) return real_ioctl(file, request, argument);
  int *bits = argument;
  if (request == TIOCMGET) *bits = both & ~off[file];
  else if (request == TIOCMSET) change(file, board, both & ~*bits);
  else if (request == TIOCMBIS) change(file, board, off[file] & ~*bits);
  else if (request == TIOCMBIC) change(file, board, off[file] | (both & *bits));
  return 0;
}
