/*
 * A GPIO chip that is not there, as the kernel's older interface shows it: a FUSE file system that is mounted on /sys/class/gpio, for tests
 * of what speaks to that. One chip, `gpiochip0` to everybody else, whose lines are numbered from BASE as on newer kernels.
 *
 * sim/N is the other side: what is on the pin of line N of the chip; inputs are driven by writing 0 or 1 there.
 *
 *   gcc -O2 sysfs-gpio.c -o sysfs-gpio $(pkg-config --cflags --libs fuse3)
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES 16
#define BASE 512
#define CHIP "/gpiochip512"
#define LABEL "pinctrl-simulated"

static const char line_names[] = "SDA\0SCL\0\0\0DOOR\0LAMP";
static const char *const edge_names[] = {"none", "rising", "falling", "both"};

static struct line {
  int is_exported, is_output, is_high, is_active_low, edge;
  unsigned edges; /* that were seen so far; whoever polls knows by it whether there is one more */
} lines[LINES];

/* An open `value`, which may be polled. */
struct handle {
  struct line *line;
  unsigned seen;
  struct fuse_pollhandle *poll;
  struct handle *next;
};
static struct handle *handles;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

enum file { NONE, FOLDER, EXPORT, UNEXPORT, VALUE, DIRECTION, EDGE, ACTIVE_LOW, PIN, TEXT };

struct found {
  enum file file;
  struct line *line;
  const char *text;
  size_t length;
};

static struct found text(const char *bytes, size_t length) {
  return (struct found){.file = TEXT, .text = bytes, .length = length};
}

static struct found find(const char *path) {
  static const char *const folders[] = {"/", "/sim", CHIP, CHIP "/device", CHIP "/device/gpiochip0", CHIP "/device/of_node"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
    if (strcmp(path, folders[i]) == 0) return (struct found){.file = FOLDER};
  if (strcmp(path, "/export") == 0) return (struct found){.file = EXPORT};
  if (strcmp(path, "/unexport") == 0) return (struct found){.file = UNEXPORT};
  if (strcmp(path, CHIP "/base") == 0) return text("512\n", 4);
  if (strcmp(path, CHIP "/ngpio") == 0) return text("16\n", 3);
  if (strcmp(path, CHIP "/label") == 0) return text(LABEL "\n", sizeof LABEL);
  if (strcmp(path, CHIP "/device/of_node/gpio-line-names") == 0) return text(line_names, sizeof line_names);
  int number, end = 0;
  if (sscanf(path, "/sim/%d%n", &number, &end) == 1 && path[end] == 0 && number >= 0 && number < LINES)
    return (struct found){.file = PIN, .line = &lines[number]};
  if (sscanf(path, "/gpio%d%n", &number, &end) != 1 || number < BASE || number >= BASE + LINES) return (struct found){.file = NONE};
  struct line *line = &lines[number - BASE];
  const char *rest = path + end;
  if (!line->is_exported) return (struct found){.file = NONE};
  if (*rest == 0) return (struct found){.file = FOLDER, .line = line};
  if (strcmp(rest, "/value") == 0) return (struct found){.file = VALUE, .line = line};
  if (strcmp(rest, "/direction") == 0) return (struct found){.file = DIRECTION, .line = line};
  if (strcmp(rest, "/edge") == 0) return (struct found){.file = EDGE, .line = line};
  if (strcmp(rest, "/active_low") == 0) return (struct found){.file = ACTIVE_LOW, .line = line};
  return (struct found){.file = NONE};
}

static int get_attributes(const char *path, struct stat *stat, struct fuse_file_info *info) {
  (void)info;
  struct found found = find(path);
  if (found.file == NONE) return -ENOENT;
  memset(stat, 0, sizeof *stat);
  stat->st_mode = found.file == FOLDER ? S_IFDIR | 0755 : S_IFREG | 0644;
  stat->st_nlink = 1;
  stat->st_size = 4096;
  return 0;
}

static int read_folder(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
                       enum fuse_readdir_flags flags) {
  (void)offset, (void)info, (void)flags;
  if (strcmp(path, "/") != 0) return 0;
  fill(buffer, "export", NULL, 0, 0);
  fill(buffer, "unexport", NULL, 0, 0);
  fill(buffer, CHIP + 1, NULL, 0, 0);
  return 0;
}

static int open_file(const char *path, struct fuse_file_info *info) {
  struct found found = find(path);
  if (found.file == NONE) return -ENOENT;
  info->direct_io = 1;
  info->fh = 0;
  if (found.file != VALUE) return 0;
  struct handle *handle = calloc(1, sizeof *handle);
  if (handle == NULL) return -ENOMEM;
  pthread_mutex_lock(&lock);
  *handle = (struct handle){.line = found.line, .seen = found.line->edges - 1, .next = handles};
  handles = handle;
  pthread_mutex_unlock(&lock);
  info->fh = (uint64_t)handle;
  return 0;
}

static int release_file(const char *path, struct fuse_file_info *info) {
  (void)path;
  struct handle *handle = (struct handle *)info->fh;
  if (handle == NULL) return 0;
  pthread_mutex_lock(&lock);
  struct handle **at = &handles;
  while (*at != handle) at = &(*at)->next;
  *at = handle->next;
  pthread_mutex_unlock(&lock);
  if (handle->poll != NULL) fuse_pollhandle_destroy(handle->poll);
  free(handle);
  return 0;
}

static int read_file(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  struct found found = find(path);
  struct handle *handle = (struct handle *)info->fh;
  char digit[3];
  struct line *line = found.line;
  switch (found.file) {
  case VALUE:
    if (handle != NULL) handle->seen = line->edges;
    found.text = digit, found.length = sprintf(digit, "%d\n", line->is_high ^ line->is_active_low);
    break;
  case PIN: found.text = digit, found.length = sprintf(digit, "%d\n", line->is_high); break;
  case ACTIVE_LOW: found.text = digit, found.length = sprintf(digit, "%d\n", line->is_active_low); break;
  case DIRECTION: found.text = line->is_output ? "out\n" : "in\n", found.length = strlen(found.text); break;
  case EDGE: found.text = edge_names[line->edge], found.length = strlen(found.text); break;
  case TEXT: break;
  default: return -EIO;
  }
  if (offset >= (off_t)found.length) return 0;
  size_t length = found.length - offset < size ? found.length - offset : size;
  memcpy(buffer, found.text + offset, length);
  return length;
}

static void drive(struct line *line, int is_high) {
  int was_on = line->is_high ^ line->is_active_low, is_on = is_high ^ line->is_active_low;
  line->is_high = is_high;
  if (was_on == is_on || !(line->edge & (is_on ? 1 : 2))) return;
  pthread_mutex_lock(&lock);
  line->edges++;
  for (struct handle *handle = handles; handle != NULL; handle = handle->next) {
    if (handle->line != line || handle->poll == NULL) continue;
    fuse_notify_poll(handle->poll);
    fuse_pollhandle_destroy(handle->poll);
    handle->poll = NULL;
  }
  pthread_mutex_unlock(&lock);
}

/* `high` and `low` are what the pin has, whatever counts as on. */
static int set_direction(struct line *line, const char *word) {
  if (strcmp(word, "in") == 0) return line->is_output = 0;
  if (strcmp(word, "out") != 0 && strcmp(word, "low") != 0 && strcmp(word, "high") != 0) return -EINVAL;
  line->is_output = 1;
  line->is_high = strcmp(word, "high") == 0;
  return 0;
}

static int set_edge(struct line *line, const char *word) {
  for (int edge = 0; edge < 4; edge++) {
    if (strcmp(word, edge_names[edge]) != 0) continue;
    if (line->is_output && edge > 0) return -EIO;
    line->edge = edge;
    return 0;
  }
  return -EINVAL;
}

static int export(int number, int is_exported) {
  if (number < BASE || number >= BASE + LINES) return -EINVAL;
  struct line *line = &lines[number - BASE];
  if (line->is_exported == is_exported) return is_exported ? -EBUSY : -EINVAL;
  line->is_exported = is_exported;
  if (!is_exported) line->is_output = line->edge = line->is_active_low = 0;
  return 0;
}

static int write_file(const char *path, const char *buffer, size_t size, off_t offset, struct fuse_file_info *info) {
  (void)offset, (void)info;
  struct found found = find(path);
  struct line *line = found.line;
  char word[16] = "";
  memcpy(word, buffer, size < sizeof word - 1 ? size : sizeof word - 1);
  word[strcspn(word, "\n")] = 0;
  int number = atoi(word), error = 0;
  switch (found.file) {
  case EXPORT: error = export(number, 1); break;
  case UNEXPORT: error = export(number, 0); break;
  case DIRECTION: error = set_direction(line, word); break;
  case EDGE: error = set_edge(line, word); break;
  case ACTIVE_LOW: line->is_active_low = number != 0; break;
  case VALUE:
    if (line->is_output) line->is_high = (number != 0) ^ line->is_active_low;
    else error = -EPERM;
    break;
  case PIN:
    if (line->is_output) error = -EPERM;
    else drive(line, number != 0);
    break;
  default: error = -EIO;
  }
  return error < 0 ? error : (int)size;
}

static int poll_file(const char *path, struct fuse_file_info *info, struct fuse_pollhandle *poll, unsigned *events) {
  (void)path;
  struct handle *handle = (struct handle *)info->fh;
  *events = POLLIN | POLLOUT;
  if (handle == NULL) {
    if (poll != NULL) fuse_pollhandle_destroy(poll);
    return 0;
  }
  pthread_mutex_lock(&lock);
  if (poll != NULL) {
    if (handle->poll != NULL) fuse_pollhandle_destroy(handle->poll);
    handle->poll = poll;
  }
  if (handle->seen != handle->line->edges) *events |= POLLPRI | POLLERR;
  pthread_mutex_unlock(&lock);
  return 0;
}

static int truncate_file(const char *path, off_t size, struct fuse_file_info *info) {
  (void)path, (void)size, (void)info;
  return 0;
}

static const struct fuse_operations operations = {
    .getattr = get_attributes,
    .readdir = read_folder,
    .open = open_file,
    .release = release_file,
    .read = read_file,
    .write = write_file,
    .poll = poll_file,
    .truncate = truncate_file,
};

int main(int count, char **words) { return fuse_main(count, words, &operations, NULL); }
