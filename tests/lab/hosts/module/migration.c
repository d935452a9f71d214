// SPDX-License-Identifier: GPL-2.0-only
/*
 * Live migration: the second version of VFIO's protocol. The state is a few dozen bytes, read or written through a file
 * that lives as long as the device is in the state that hands it out.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "vgpu.h"

struct vgpu_stream {
	struct mutex lock;
	struct file *file;
	struct vfio_device *vdev;
	struct vgpu_state state;
	size_t filled; /* bytes of the state that are there */
	bool ended;    /* the device has left the state that handed the file out */
};

static ssize_t stream_read(struct file *file, char __user *buffer, size_t count, loff_t *position)
{
	struct vgpu_stream *stream = file->private_data;
	ssize_t done;

	mutex_lock(&stream->lock);
	if (stream->ended)
		done = -ENODEV;
	else
		done = simple_read_from_buffer(buffer, count, &file->f_pos, &stream->state, stream->filled);
	mutex_unlock(&stream->lock);
	return done;
}

static ssize_t stream_write(struct file *file, const char __user *buffer, size_t count, loff_t *position)
{
	struct vgpu_stream *stream = file->private_data;
	ssize_t done;

	mutex_lock(&stream->lock);
	if (stream->ended)
		done = -ENODEV;
	else
		done = simple_write_to_buffer(&stream->state, sizeof(stream->state), &file->f_pos, buffer, count);
	if (done > 0)
		stream->filled = max_t(size_t, stream->filled, file->f_pos);
	/* what does not fit is refused here, where the machine that receives it still tells the one that sends */
	if (done > 0 && stream->filled == sizeof(stream->state) && !vgpu_state_fits(stream->vdev, &stream->state))
		done = -EINVAL;
	mutex_unlock(&stream->lock);
	return done ? done : -ENOSPC;
}

static int stream_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations saving = {
	.owner = THIS_MODULE,
	.read = stream_read,
	.release = stream_release,
	.llseek = noop_llseek,
};

static const struct file_operations restoring = {
	.owner = THIS_MODULE,
	.write = stream_write,
	.release = stream_release,
	.llseek = noop_llseek,
};

/* A stream with two references: the caller's file, and the device's own until stream_end(). */
static struct vgpu_stream *stream_new(struct vfio_device *vdev, const struct file_operations *operations, int flags)
{
	struct vgpu_stream *stream = kzalloc(sizeof(*stream), GFP_KERNEL_ACCOUNT);

	if (!stream)
		return ERR_PTR(-ENOMEM);
	mutex_init(&stream->lock);
	stream->vdev = vdev;
	stream->file = anon_inode_getfile("vgpu-migration", operations, stream, flags);
	if (IS_ERR(stream->file)) {
		struct file *error = stream->file;

		kfree(stream);
		return ERR_CAST(error);
	}
	stream_open(file_inode(stream->file), stream->file);
	get_file(stream->file);
	return stream;
}

static void stream_end(struct vgpu_migration *migration)
{
	struct vgpu_stream *stream = migration->stream;

	if (!stream)
		return;
	migration->stream = NULL;
	mutex_lock(&stream->lock);
	stream->ended = true;
	mutex_unlock(&stream->lock);
	fput(stream->file);
}

/* One step along an arc of the state machine; a file comes with those that transfer, an error leaves all as it was. */
static struct file *step(struct vfio_device *vdev, struct vgpu_migration *migration, enum vfio_device_mig_state next)
{
	enum vfio_device_mig_state now = migration->now;
	bool stopped = now == VFIO_DEVICE_STATE_STOP;
	struct vgpu_stream *stream;

	if (stopped && (next == VFIO_DEVICE_STATE_STOP_COPY || next == VFIO_DEVICE_STATE_RESUMING)) {
		if (next == VFIO_DEVICE_STATE_STOP_COPY)
			stream = stream_new(vdev, &saving, O_RDONLY);
		else
			stream = stream_new(vdev, &restoring, O_WRONLY);
		if (IS_ERR(stream))
			return ERR_CAST(stream);
		if (next == VFIO_DEVICE_STATE_STOP_COPY) {
			vgpu_state_save(vdev, &stream->state);
			stream->filled = sizeof(stream->state);
		}
		migration->stream = stream;
		return stream->file;
	}
	if (now == VFIO_DEVICE_STATE_STOP_COPY) {
		stream_end(migration);
	} else if (now == VFIO_DEVICE_STATE_RESUMING) {
		struct vgpu_stream *received = migration->stream;
		bool whole;

		mutex_lock(&received->lock);
		whole = received->filled == sizeof(received->state) && vgpu_state_fits(vdev, &received->state);
		if (whole)
			vgpu_state_load(vdev, &received->state);
		mutex_unlock(&received->lock);
		if (!whole)
			return ERR_PTR(-EINVAL);
		stream_end(migration);
	}
	/* between running, running without peers, and stopped there is nothing to do: the device does nothing by itself */
	return NULL;
}

static struct file *set_state(struct vfio_device *vdev, enum vfio_device_mig_state wanted)
{
	struct vgpu_migration *migration = vgpu_migration_of(vdev);
	struct file *file = NULL;

	mutex_lock(&migration->lock);
	while (!file && migration->now != wanted) {
		enum vfio_device_mig_state next;
		int error = vfio_mig_get_next_state(vdev, migration->now, wanted, &next);

		file = error ? ERR_PTR(error) : step(vdev, migration, next);
		if (!IS_ERR(file))
			migration->now = next;
	}
	mutex_unlock(&migration->lock);
	return file;
}

static int get_state(struct vfio_device *vdev, enum vfio_device_mig_state *state)
{
	struct vgpu_migration *migration = vgpu_migration_of(vdev);

	mutex_lock(&migration->lock);
	*state = migration->now;
	mutex_unlock(&migration->lock);
	return 0;
}

static int get_data_size(struct vfio_device *vdev, unsigned long *length)
{
	*length = sizeof(struct vgpu_state);
	return 0;
}

const struct vfio_migration_ops vgpu_migration_ops = {
	.migration_set_state = set_state,
	.migration_get_state = get_state,
	.migration_get_data_size = get_data_size,
};

void vgpu_migration_init(struct vgpu_migration *migration)
{
	mutex_init(&migration->lock);
	migration->now = VFIO_DEVICE_STATE_RUNNING;
}

/* As after power-on: running, and whatever was being transferred is void. */
void vgpu_migration_reset(struct vgpu_migration *migration)
{
	mutex_lock(&migration->lock);
	stream_end(migration);
	migration->now = VFIO_DEVICE_STATE_RUNNING;
	mutex_unlock(&migration->lock);
}
