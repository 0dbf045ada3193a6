/* A disk that lies: what a program believes to be on the disk is not. For the control run of the power cuts. */
int fsync(int fd) { return (void)fd, 0; }
int fdatasync(int fd) { return (void)fd, 0; }
