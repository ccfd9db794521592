{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['happened_date'],
    meta={'touched': [{
        'model': 'int_touched_pipeline_calls',
        'on': {'message_id': 'message_id', 'happened_date': 'happened_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

calls as (

    {{ calls_of(['create_or_update_device', 'delete_device']) }}

),

parsed as (

    select
        {{ call_columns() }},
        user_id,
        properties,
        {{ json_value('context', 'device') }} as device,
        {{ json_fields('context', ['app.version']) }} as context_fields
    from calls

),

-- Customer.io's own samples have the token among the properties, its specification in the context
read as (

    select
        {{ call_columns() }},
        user_id,
        properties,
        {{ json_name('properties', 'email') }} as email,
        coalesce({{ json_name('device', 'token') }}, {{ json_name('properties', 'device_id') }}) as token,
        lower(coalesce({{ json_name('device', 'type') }}, {{ json_name('properties', 'device_type') }})) as device_type,
        {{ json_field('context_fields', 'app.version') }} as app_version
    from parsed

),

identified as (

    select
        {{ call_columns() }},
        properties,
        token,
        app_version,
        case when user_id is not null then {{ identifier_type('user_id') }} when email is not null then 'email' end
            as person_id_type,
        coalesce(user_id, email) as person_id,
        coalesce({{ person_identifier('user_id') }}, {{ json_object([['email', json_text('email')]]) }}) as identifiers,
        case when device_type in ({{ quoted_list(apple_systems()) }}) then 'ios' else device_type end as platform
    from read

),

parts as (

    select
        request_id,
        'device' as part,
        1 as precedence,
        properties as json_text
    from identified
    where action = 'create_or_update_device'

    union all

    select
        request_id,
        'device' as part,
        2 as precedence,
        {{ json_object([['app_version', json_text('app_version')]]) }} as json_text
    from identified
    where action = 'create_or_update_device'

),

{{ attributes_of('parts', ignored={'device': ['device_id', 'device_type', 'email']}) }},

written as (

    select
        {{ call_columns('identified') }},
        identified.token,
        identified.platform,
        identified.person_id_type,
        identified.person_id,
        {{ json_object([
            ['type', "'\"person\"'"],
            ['action', "case when action = 'delete_device' then '\"delete_device\"' else '\"add_device\"' end"],
            ['identifiers', 'case when person_id is not null then identifiers end'],
            ['device', json_object([
                ['token', json_text('token')],
                ['platform', "case when action != 'delete_device' then " ~ json_text('platform') ~ ' end'],
                ['last_used', "case when action != 'delete_device' then " ~ unix_text('happened_ms') ~ ' end'],
                ['attributes', "case when action != 'delete_device' then coalesce(attributes.members, '{}') end"],
            ])],
        ]) }} as payload
    from identified
    left join attributes
        on identified.request_id = attributes.request_id

),

final as (

    select
        {{ request_columns('batch', is_event=false, relation='written') }},
        {{ held_back(
            [
                ['no_identifier', 'person_id is null'],
                ['missing_token', 'token is null'],
                ['missing_field', "action != 'delete_device' and platform is null"],
            ],
            ids=['person_id'],
            attributes=['attributes'],
        ) }} as held_back_reason
    from written
    left join attributes
        on written.request_id = attributes.request_id

)

select * from final
